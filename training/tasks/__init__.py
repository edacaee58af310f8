"""The learning tasks, one file each. A config names one: ``task: {kind: classify, ...}``.

A new task is a dataclass with a ``kind`` of its own, and one entry in `AnyTask`.
"""

from training.tasks.adapt import Adapt
from training.tasks.base import Metric, Output, Targets, Task
from training.tasks.classify import Classify
from training.tasks.contrast import Contrast
from training.tasks.edit import Edit
from training.tasks.predict_accuracy import PredictAccuracy
from training.tasks.regress import Regress
from training.tasks.retrieve import Retrieve

AnyTask = Classify | Regress | Contrast | Adapt | PredictAccuracy | Edit | Retrieve
"""Every task that a config can name."""

__all__ = [
    "Adapt",
    "AnyTask",
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
]
