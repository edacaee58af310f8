"""What every description of a model gives: a network on weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from dws import WeightSpace
from zoo_gen import ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


class Network(ABC):
    """A description of a network from weights ``[m, size]`` to ``[m, classes]``; frozen, hashed.

    Attributes:
        kind: its name in a config.
        invariant: whether the answer is the same for any order of the neurons, so that it cannot
            say how each of them is to change.
        yardstick: whether it learns nothing that could be applied to other networks: it stands
            beside the others in a report, and is neither registered nor asked to predict.
    """

    kind: str
    invariant: ClassVar[bool] = False
    yardstick: ClassVar[bool] = False

    @abstractmethod
    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised network.

        Args:
            space: of the weights.
            classes: numbers that it gives for each network: logits, values or an embedding.
            forward_pass: what the zoo's networks compute, for models that evaluate them.

        Returns:
            ``[m, size]`` -> ``[m, classes]``. It has a layer ``standardize`` (`dws.Standardize`),
            whose statistics the loop takes from training data.

        Raises:
            ConfigError: options that the space does not allow.
        """
