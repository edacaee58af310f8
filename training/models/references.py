"""What models that change weights are compared with: weights as they came, or trained further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from dws import WeightSpace
from training.checks import check_positive
from training.models.base import Network
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


@dataclass(frozen=True)
class UnchangedNetwork(Network):
    """Weights as they came, beside models that change them: tasks ``edit`` and ``adapt`` alone."""

    kind: Literal["unchanged"] = "unchanged"
    yardstick: ClassVar[bool] = True

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """Never: it gives weights (`training.models.editors`)."""
        raise ConfigError(
            "network.kind: got unchanged, which gives weights back as they came; this task needs a "
            "vector for each network"
        )


@dataclass(frozen=True)
class FineTuneNetwork(Network):
    """Each classifier trained further, on its own: task ``adapt`` alone (`training.tasks.adapt`).

    Attributes:
        steps: of Adam, on the images that the other models learn from.
        learning_rate: of Adam.
        batch_size: images per step.
    """

    kind: Literal["fine-tune"] = "fine-tune"
    yardstick: ClassVar[bool] = True
    steps: int = 100
    learning_rate: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_positive("steps", self.steps)
        check_positive("learning_rate", self.learning_rate)
        check_positive("batch_size", self.batch_size)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """Never: it trains what it is given."""
        raise ConfigError(
            "network.kind: got fine-tune, which trains classifiers on the images of task adapt; "
            "this task has none"
        )
