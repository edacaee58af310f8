"""A perceptron on the flattened weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

from torch import Tensor, nn

from dws import Standardize, WeightSpace
from training.checks import check_share, check_widths
from training.models.base import Network
from zoo_gen import ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


@dataclass(frozen=True)
class MlpNetwork(Network):
    """A `FlatMLP`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of features set to zero in training.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised MLP."""
        return FlatMLP(space, classes, self)


class FlatMLP(nn.Module):
    """A multi-layer perceptron on the flattened weights; knows nothing of their symmetry.

    Args:
        space: of the networks that come in.
        out_features: length of the output vector.
        options: widths of the hidden layers and dropout.

    Source: the "MLP" baseline of Navon et al. 2023, with PyTorch's initialisation as there; with
    permuted inputs in training it is "MLP + permutation augmentation", on aligned networks "MLP +
    alignment".
    """

    def __init__(self, space: WeightSpace, out_features: int, options: MlpNetwork) -> None:
        super().__init__()
        self.space = space
        self.standardize = Standardize(space)
        self.layers = perceptron([space.size, *options.hidden, out_features], options.dropout)

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, out_features]``."""
        x = self.space.flatten(self.standardize(self.space.split(theta)))
        out: Tensor = self.layers(x)
        return out


def perceptron(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """``(linear -> ReLU -> dropout)`` between the first widths, a linear layer to the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths[:-1]):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def keep_variance(layers: nn.Sequential) -> nn.Sequential:
    """Initialise the linear layers of a perceptron so that features keep a variance of order one.

    Weights are normal with variance ``1 / fan_in`` in the first layer and ``2 / fan_in`` in those
    that follow a ReLU, which halves the mean square; biases are 0.

    Returns:
        The same layers.

    Source: He et al. 2015 (arXiv 1502.01852), section 2.2.
    """
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for i, linear in enumerate(linears):
        nn.init.normal_(linear.weight, std=sqrt((1 if i == 0 else 2) / linear.in_features))
        nn.init.zeros_(linear.bias)
    return layers
