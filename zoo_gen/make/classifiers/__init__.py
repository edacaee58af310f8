"""Zoos of small classifiers: trained in batches, evaluated on clean and corrupted images."""

from zoo_gen.make.classifiers.corruptions import CORRUPTIONS, corrupt
from zoo_gen.make.classifiers.evaluate import Scores, accuracy, logits
from zoo_gen.recipe.classifier import Classifier, Cnn, Mlp

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
