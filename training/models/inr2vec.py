"""One perceptron shared by all rows of the weights, and a maximum over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dws import Standardize, WeightSpace
from training.checks import check_share, check_widths
from training.models.base import Network
from training.models.mlp import keep_variance, perceptron
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


@dataclass(frozen=True)
class Inr2VecNetwork(Network):
    """An `Inr2Vec`.

    Its batch norm takes the statistics of each worker's own slice of a batch, so that, unlike other
    networks, it learns something else with another number of workers.

    Attributes:
        hidden: widths of the encoder that all rows share; the last is the embedding's length.
        head: widths of the hidden layers after the maximum over rows.
        dropout: share of the head's hidden features set to zero in training.
    """

    kind: Literal["inr2vec"] = "inr2vec"
    hidden: tuple[int, ...] = (512, 512, 1024)
    head: tuple[int, ...] = (256,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ConfigError("hidden: got no width, expected at least one")
        check_widths("hidden", self.hidden)
        check_widths("head", self.head)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised encoder and head.

        Raises:
            ConfigError: a space of a single row, which leaves nothing to take a maximum of.
        """
        return Inr2Vec(space, classes, self)


class Inr2Vec(nn.Module):
    """INR2Vec's encoder on the rows of the weights, then a perceptron.

    ``standardize -> rows -> (linear -> batch norm -> ReLU) per row -> linear -> max over rows ->
    head``. The maximum forgets the order of the rows, but within a row neurons keep their places:
    no permutation of hidden neurons leaves the output as it is.

    Args:
        space: of the networks that come in; at least two rows.
        out_features: length of the output vector.
        options: widths and dropout.

    Raises:
        ConfigError: a space of a single row.

    Source: De Luigi et al. 2023 (arXiv 2302.05438) and their published code; as a
    baseline whose architecture alone is taken, Navon et al. 2023. Otherwise than theirs:

    - they stack the square hidden matrices and biases alone, which must all be of one width; here
      every tensor gives rows (see :func:`rows`), padded with zeros to the longest;
    - a row of their matrices is what comes into a neuron, one of ours what a neuron sends out (in
      the last matrix, what comes into an output): so every row lies along hidden neurons;
    - weights are standardised per orbit;
    - they train encoder and decoder to reconstruct signals and classify the frozen embedding; here
      encoder and head learn from the labels together;
    - widths 512, 512, 1024 rather than 512, 512, 1024, 1024, 1024, and a smaller head without batch
      norm, which a batch of one network would not survive.
    """

    def __init__(self, space: WeightSpace, out_features: int, options: Inr2VecNetwork) -> None:
        super().__init__()
        count, width = row_shape(space)
        if count < 2:
            raise ConfigError(
                f"network: inr2vec takes a maximum over rows, but {space} gives a single row of "
                f"{width} weights; use mlp for it"
            )
        hidden = options.hidden
        self.space = space
        self.standardize = Standardize(space)
        layers: list[nn.Module] = []
        for a, b in pairwise([width, *hidden[:-1]]):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        last = nn.Linear([width, *hidden][-2], hidden[-1])
        self.encoder = keep_variance(nn.Sequential(*layers, last))
        self.head = keep_variance(
            perceptron([hidden[-1], *options.head, out_features], options.dropout)
        )

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, out_features]``."""
        x = rows(self.space, self.standardize(self.space.split(theta)))
        # batch norm counts every row of every network as one example
        encoded = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        out: Tensor = self.head(encoded.amax(1))
        return out


def row_shape(space: WeightSpace) -> tuple[int, int]:
    """Number of rows of one network, and their common length."""
    lengths = {name: _length(space, name) for name in space.names}
    return sum(prod(space.shapes[name]) // n for name, n in lengths.items()), max(lengths.values())


def rows(space: WeightSpace, features: Mapping[str, Tensor]) -> Tensor:
    """Weights as rows along hidden neurons.

    A tensor gives one row per entry of its axes other than its first hidden axis; each row runs
    over that axis. For an MLP: ``W_m`` gives d_{m-1} rows of d_m weights, the last ``W_M`` d_M rows
    of d_{M-1}, a hidden bias one row. A tensor without a hidden axis is one row. All are padded
    with zeros to the longest.

    Args:
        space: of the features.
        features: name -> ``[m, *shape, 1]``.

    Returns:
        ``[m, rows, longest]``.

    Raises:
        ValueError: names or shapes of another space, or several channels.
    """
    space.check(features, 1)
    _, width = row_shape(space)
    parts = []
    for name in space.names:
        x, length = features[name].squeeze(-1), _length(space, name)
        if hidden := space.hidden_axes(name):
            x = x.movedim(1 + space.axes[name].index(hidden[0]), -1)
        count = prod(space.shapes[name]) // length
        parts.append(pad(x.reshape(x.shape[0], count, length), (0, width - length)))
    return torch.cat(parts, 1)


def _length(space: WeightSpace, name: str) -> int:
    hidden = space.hidden_axes(name)
    return space.sizes[hidden[0]] if hidden else prod(space.shapes[name])
