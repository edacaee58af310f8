"""The learning tasks, one file each. A config names one: ``task: {kind: classify, ...}``.

A new task is a dataclass with a ``kind`` of its own, and one entry in `AnyTask`.
"""

from training.tasks.base import Metric, Output, Targets, Task
from training.tasks.classify import Classify
from training.tasks.predict_accuracy import PredictAccuracy
from training.tasks.regress import Regress

AnyTask = Classify | Regress | PredictAccuracy

__all__ = [
    "AnyTask",
    "Classify",
    "Metric",
    "Output",
    "PredictAccuracy",
    "Regress",
    "Targets",
    "Task",
]
