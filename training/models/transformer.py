"""Attention among neurons or layers, distinguished by learned positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from dws import Features, Standardize, WeightSpace
from training.checks import check_positive, check_share
from training.models.base import Network
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN

WIDER = 4
"""Features of a block's perceptron per channel, as in Vaswani et al. 2017."""


@dataclass(frozen=True)
class TransformerNetwork(Network):
    """A `Transformer`.

    Attributes:
        channels: features of a token; a multiple of ``heads``.
        layers: attention blocks.
        heads: of attention.
        tokens: ``"neuron"``: one per neuron of every layer, its incoming weights and bias;
            ``"layer"``: one per layer, all its weights and biases.
        dropout: share of features set to zero in training.
        positions: whether a learned vector is added to each token; without them a layer's tokens
            share its linear map's bias alone.
    """

    kind: Literal["transformer"] = "transformer"
    channels: int = 64
    layers: int = 4
    heads: int = 4
    tokens: Literal["neuron", "layer"] = "neuron"
    dropout: float = 0.0
    positions: bool = True

    def __post_init__(self) -> None:
        check_positive("channels", self.channels)
        check_positive("layers", self.layers)
        check_positive("heads", self.heads)
        if self.channels % self.heads:
            raise ConfigError(
                f"heads: got {self.heads} with channels {self.channels}, expected heads that "
                "divide the channels"
            )
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised transformer."""
        return Transformer(space, classes, self)


class Transformer(nn.Module):
    """Self-attention over tokens of weights.

    ``standardize -> tokens -> a linear map per layer -> + positions -> attention blocks -> mean ->
    layer norm -> linear``. The learned positions distinguish neurons, and so break the symmetry.
    Without them it is not invariant either: the entries of a token, a neuron's incoming weights,
    are in the order of the neurons before it.

    Args:
        space: of the networks that come in.
        out_features: length of the output vector.
        options: size, tokens and positions.

    Source: attention over groups of weights with learned positions, Schürholt et al. 2021 (arXiv
    2110.15288); a transformer as a baseline, Navon et al. 2023. Otherwise than the former: trained
    on labels instead of without them, tokens pooled by their mean, blocks that normalise first,
    weights standardised per orbit.
    """

    def __init__(self, space: WeightSpace, out_features: int, options: TransformerNetwork) -> None:
        super().__init__()
        self.space, self.tokens, channels = space, options.tokens, options.channels
        self.standardize = Standardize(space)
        shapes = neuron_shapes(space)
        if options.tokens == "layer":
            shapes = {axis: (1, n * width) for axis, (n, width) in shapes.items()}
        self.embeddings = nn.ModuleList(embedding(w, channels) for _, w in shapes.values())
        count = sum(n for n, _ in shapes.values())
        self.positions = nn.Parameter(torch.randn(count, channels)) if options.positions else None
        # made one by one: nn.TransformerEncoder would start all of them at the same weights
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels,
                options.heads,
                WIDER * channels,
                options.dropout,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.head = embedding(channels, out_features)

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, out_features]``."""
        groups = neuron_tokens(self.space, self.standardize(self.space.split(theta)))
        parts = []
        for embed, x in zip(self.embeddings, groups.values(), strict=True):
            parts.append(embed(x.flatten(1).unsqueeze(1) if self.tokens == "layer" else x))
        x = torch.cat(parts, 1)
        if self.positions is not None:
            x = x + self.positions
        for block in self.blocks:
            x = block(x)
        # normed after the mean, which makes tokens that differ small
        out: Tensor = self.head(self.norm(x.mean(1)))
        return out


def neuron_shapes(space: WeightSpace) -> dict[str, tuple[int, int]]:
    """First axis -> its neurons, and the weights of a neuron's token; see :func:`neuron_tokens`."""
    shapes: dict[str, tuple[int, int]] = {}
    for name, axes in space.axes.items():
        n, width = space.sizes[axes[0]], prod(space.shapes[name][1:])
        shapes[axes[0]] = (n, shapes.get(axes[0], (n, 0))[1] + width)
    return shapes


def neuron_tokens(space: WeightSpace, features: Mapping[str, Tensor]) -> Features:
    """Each neuron's weights: of all tensors whose first axis is its layer's, its slices in a row.

    For an MLP: ``n_k`` -> the row of ``W_k`` and the entry of ``b_k`` of each neuron, k = 1..M.

    Args:
        space: of the features.
        features: name -> ``[m, *shape, 1]``.

    Returns:
        First axis, in the order of the tensors -> ``[m, n, weights of a neuron]``.

    Raises:
        ValueError: names or shapes of another space, or several channels.
    """
    space.check(features, 1)
    slices: dict[str, list[Tensor]] = {}
    for name, axes in space.axes.items():
        slices.setdefault(axes[0], []).append(features[name].flatten(2))
    return {axis: torch.cat(parts, 2) for axis, parts in slices.items()}


def embedding(in_features: int, out_features: int) -> nn.Linear:
    """A linear map that takes features of variance one to such; its bias starts at zero."""
    linear = nn.Linear(in_features, out_features)
    nn.init.normal_(linear.weight, std=sqrt(1 / in_features))
    nn.init.zeros_(linear.bias)
    return linear
