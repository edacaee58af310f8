"""Zoos of small classifiers: trained in batches, evaluated on clean and corrupted images."""

from zoo_gen.classifiers.corruptions import CORRUPTIONS, corrupt
from zoo_gen.classifiers.evaluate import Scores, accuracy, logits
from zoo_gen.classifiers.settings import Classifier, Cnn, Mlp

__all__ = [
    "CORRUPTIONS",
    "Classifier",
    "Cnn",
    "Mlp",
    "Scores",
    "accuracy",
    "corrupt",
    "logits",
]
