"""Learning on the weights of a zoo: what is wanted from Python, at one place.

`load` a zoo, `prepare` its weights if you like, `train` one of `training.models`; what is learned
is one of `training.tasks`. Runs that are kept, tracked and shared are those of the command line.
"""

from training.augmentation import Augmentation
from training.data import WeightData, load, prepare
from training.loop import Outcome, Training, train
from training.own_networks import read_network

__all__ = [
    "Augmentation",
    "Outcome",
    "Training",
    "WeightData",
    "load",
    "prepare",
    "read_network",
    "train",
]
