"""The learning tasks, one file each. A config names one: ``task: {kind: classify, ...}``.

A new task is a file with a `Task`, and a line in `TASKS`; or in another package an entry point of
the group ``dwszoo.tasks`` (docs/extend-task.md).
"""

from training.tasks.adapt import Adapt
from training.tasks.base import Targets, Task, TaskData
from training.tasks.classify import Classify
from training.tasks.contrast import Contrast
from training.tasks.edit import Edit
from training.tasks.load import load
from training.tasks.metrics import Metric, Output
from training.tasks.predict_accuracy import PredictAccuracy
from training.tasks.regress import Regress, Values
from training.tasks.retrieve import Retrieve
from zoo_gen.plugins import Kinds

TASKS = Kinds(
    "dwszoo.tasks",
    Task,
    Classify,
    Regress,
    Contrast,
    Adapt,
    PredictAccuracy,
    Edit,
    Retrieve,
)
"""Every task that a config can name: kind -> class."""

__all__ = [
    "TASKS",
    "Adapt",
    "Classify",
    "Contrast",
    "Edit",
    "Metric",
    "Output",
    "PredictAccuracy",
    "Regress",
    "Retrieve",
    "Targets",
    "Task",
    "TaskData",
    "Values",
    "load",
]
