"""A few statistics of each tensor: the simplest invariant there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dws import Standardize, WeightSpace
from training.checks import check_share, check_widths
from training.models.base import Network
from training.models.mlp import keep_variance, perceptron
from zoo_gen import ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
PER_TENSOR = 2 + len(QUANTILES)
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class StatisticsNetwork(Network):
    """A `Statistics`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of hidden features set to zero in training.
    """

    kind: Literal["statistics"] = "statistics"
    invariant: ClassVar[bool] = True
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised perceptron on statistics."""
        return Statistics(space, classes, self)


class Statistics(nn.Module):
    """A perceptron on statistics of each tensor: mean, variance and quantiles 0, 1/4, 1/2, 3/4, 1.

    Invariant to every permutation of the entries of a tensor's orbit, far more than the networks'
    symmetry: what distinguishes one neuron's weights from another's is lost. Bit by bit, since the
    entries are sorted before they are summed.

    Args:
        space: of the networks that come in.
        out_features: length of the output vector.
        options: widths and dropout.

    Source: Unterthiner et al. 2020 (arXiv 2002.11448), who take these statistics of the kernels and
    biases of the raw weights and prefer boosted trees to a perceptron; standardising is ours.
    """

    def __init__(self, space: WeightSpace, out_features: int, options: StatisticsNetwork) -> None:
        super().__init__()
        self.space = space
        self.standardize = StandardizedStatistics(space)
        widths = [PER_TENSOR * len(space.names), *options.hidden, out_features]
        self.layers = keep_variance(perceptron(widths, options.dropout))

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, out_features]``."""
        out: Tensor = self.layers(self.standardize(theta))
        return out


class StandardizedStatistics(nn.Module):
    """Statistics of weights standardised per orbit, and each in turn standardised.

    The second step is no luxury: the mean of a thousand weights varies by a thirtieth of what a
    weight does, and would hardly be seen beside the extremes. Any fixed map of an invariant is one.

    Args:
        space: of the weights.
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        self.space = space
        self.weights = Standardize(space)
        entries = {"entries": PER_TENSOR * len(space.names)}
        self.statistics = Standardize(WeightSpace({"statistics": ("entries",)}, entries, ()))

    @torch.no_grad()
    def fit(self, theta: Tensor) -> StandardizedStatistics:
        """Take the statistics of these weights ``[m, size]``, as :meth:`dws.Standardize.fit`."""
        self.weights.fit(theta)
        self.statistics.fit(torch.cat([self._measure(some) for some in theta.split(ROWS_AT_ONCE)]))
        return self

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, 7 * tensors]``."""
        space = self.statistics.space
        return space.flatten(self.statistics(space.split(self._measure(theta))))

    def _measure(self, theta: Tensor) -> Tensor:
        return statistics(self.space, self.weights(self.space.split(theta)))


def statistics(space: WeightSpace, features: Mapping[str, Tensor]) -> Tensor:
    """Mean, variance and quantiles of each tensor of each network.

    The variance has its divisor at the number of entries (one entry: 0); unlike the standard
    deviation, it has a gradient where it is 0. A quantile between two entries is interpolated
    linearly.

    Args:
        space: of the features.
        features: name -> ``[m, *shape, 1]``.

    Returns:
        ``[m, 7 * tensors]``, the seven of a tensor next to each other.

    Raises:
        ValueError: names or shapes of another space, or several channels.
    """
    space.check(features, 1)
    columns: list[Tensor] = []
    for name in space.names:
        # sorted here, not by torch.quantile: that refuses more than 16 million entries
        x = features[name].flatten(1).sort(dim=1).values
        mean = x.mean(1)
        columns += [mean, (x - mean.unsqueeze(1)).square().mean(1)]
        for q in QUANTILES:
            place = q * (x.shape[1] - 1)
            below, above = x[:, floor(place)], x[:, ceil(place)]
            columns.append(below.lerp(above, place - floor(place)))
    return torch.stack(columns, 1)
