"""Zoos of small classifiers: trained in batches, evaluated on clean and corrupted images."""

from zoo_gen.make.classifiers.corruptions import CORRUPTIONS, corrupt
from zoo_gen.recipe.architectures import Cnn, Mlp
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.recipe.scores import Scores, accuracy, logits

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
