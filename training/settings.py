"""How a model is trained: the part ``training`` of a model in a config."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from training.augmentation import Augmentation
from training.checks import check_positive
from training.data import Preparation
from zoo_gen import ConfigError


@dataclass(frozen=True)
class Training:
    """How a model is trained: AdamW, linear warm-up, then a cosine to zero.

    Attributes:
        epochs: passes over the training networks.
        batch_size: networks per step, over all workers.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW.
        augment: what is done to each training network afresh in each step.
        prepare: what is done to the weights of all splits (`training.data.prepare`), once, and a
            canonical form again after each augmentation:
            ``"align"`` permutes the neurons to be close to those of the training networks,
            ``"canonical-sine"`` and ``"canonical-relu"`` choose one of the weights that signs and
            phases, or scales, leave equivalent.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    augment: Augmentation = field(default_factory=Augmentation)
    prepare: Preparation = "none"

    def __post_init__(self) -> None:
        check_positive("epochs", self.epochs)
        check_positive("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay: got {self.weight_decay}, expected 0 or more")
