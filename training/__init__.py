"""Learning on the weights of a zoo from Python.

`load` a zoo, `prepare` its weights if you like, `train` one of `training.models`; what is learned
is one of `training.tasks`. Runs that are kept, tracked and shared are those of the command line.
"""

from training.augmentation import Augmentation
from training.data import prepare
from training.loop import Outcome, train
from training.own_networks import read_network
from training.settings import Training
from training.tasks import TaskData, load

__all__ = [
    "Augmentation",
    "Outcome",
    "TaskData",
    "Training",
    "load",
    "prepare",
    "read_network",
    "train",
]
