"""Summaries of features along hidden axes: mean, sum, maximum, or attention."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dws.basis import Alpha
from dws.space import Features, WeightSpace

Pool = Literal["mean", "sum", "max", "attention"]
POOLS = get_args(Pool)


class AxisPool(nn.Module):
    """Summarise one hidden axis of one tensor: ``[m, ..., n, ..., F c] -> [m, ..., F c]``.

    Attention weighs the neurons by a softmax of a learned score of their features, one score
    vector for each tensor and set of axes; it starts as the mean.

    Args:
        space: of the features.
        channels: c of the features.
        pool: ``"mean"``, ``"sum"``, ``"max"`` or ``"attention"``.

    Raises:
        ValueError: an unknown pool.
    """

    def __init__(self, space: WeightSpace, channels: int, pool: Pool) -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"pool {pool!r} is not known; choose one of {', '.join(POOLS)}")
        self.pool = pool
        self.scores = nn.ParameterDict()
        if pool == "attention":
            for name in space.names:
                hidden, width = space.hidden_axes(name), space.fixed_size(name) * channels
                # Pooled takes the last axis away first: only sets that hold it are ever scored
                for k in range(len(hidden)):
                    for others in combinations(hidden[:-1], k):
                        scores = nn.Parameter(torch.zeros(width))
                        self.scores[_key(name, (*others, hidden[-1]))] = scores

    def forward(self, x: Tensor, name: str, kept: tuple[str, ...], axis: str) -> Tensor:
        """Summarise ``axis`` of the features of a tensor that still has the axes ``kept``."""
        dim = 1 + kept.index(axis)
        if self.pool == "mean":
            return x.mean(dim)
        if self.pool == "sum":
            return x.sum(dim)
        if self.pool == "max":
            return x.amax(dim)
        weights: Tensor = (x @ self.scores[_key(name, kept)]).softmax(dim)
        return (x * weights.unsqueeze(-1)).sum(dim)


class Pooled:
    """The features of every tensor, summarised down to any set of its hidden axes, each once.

    ``pooled(name, alpha)`` is ``[m, *alpha sizes, F c]`` for the product F of the tensor's fixed
    sizes, the axes in the order of alpha.

    Args:
        space: of the features.
        known: (tensor, kept axes in its order) -> summary, at least the unsummarised features,
            fixed axes and channels joined.
        pooling: how one axis is summarised.
    """

    def __init__(
        self,
        space: WeightSpace,
        known: dict[tuple[str, tuple[str, ...]], Tensor],
        pooling: AxisPool,
    ) -> None:
        self.space, self.known, self.pooling = space, known, pooling

    @classmethod
    def of(cls, space: WeightSpace, features: Mapping[str, Tensor], pooling: AxisPool) -> Pooled:
        """From ``[m, *shape, c]`` per tensor."""
        known = {}
        for name in space.names:
            hidden, x = space.hidden_axes(name), features[name]
            x = x.permute(0, *_positions(space.axes[name], _inside(space, name)), x.ndim - 1)
            known[name, hidden] = x.flatten(1 + len(hidden))
        return cls(space, known, pooling)

    def features(self, channels: int) -> Features:
        """``[m, *shape, c]`` per tensor."""
        space, out = self.space, {}
        for name in space.names:
            inside = _inside(space, name)
            x = self.known[name, space.hidden_axes(name)]
            fixed = [space.sizes[a] for a in space.fixed_axes(name)]
            x = x.unflatten(-1, (*fixed, channels))
            out[name] = x.permute(0, *_positions(inside, space.axes[name]), x.ndim - 1)
        return out

    def __call__(self, name: str, alpha: Alpha) -> Tensor:
        kept = tuple(a for a in self.space.hidden_axes(name) if a in alpha)
        x = self._down_to(name, kept)
        return x if kept == alpha else x.permute(0, *_positions(kept, alpha), x.ndim - 1)

    def _down_to(self, name: str, kept: tuple[str, ...]) -> Tensor:
        """From the tensor that still has one axis more, so that large tensors are read seldom."""
        if (name, kept) not in self.known:
            hidden = self.space.hidden_axes(name)
            extra = next(a for a in reversed(hidden) if a not in kept)
            wider = tuple(a for a in hidden if a in kept or a == extra)
            self.known[name, kept] = self.pooling(self._down_to(name, wider), name, wider, extra)
        return self.known[name, kept]


def _inside(space: WeightSpace, name: str) -> tuple[str, ...]:
    """The axes of a tensor as the layers hold them: hidden ones first."""
    return space.hidden_axes(name) + space.fixed_axes(name)


def _positions(order: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    """For a permute of [m, *order, ...] to [m, *wanted, ...]."""
    return [1 + order.index(axis) for axis in wanted]


def _key(name: str, kept: tuple[str, ...]) -> str:
    """Name of a score vector in the state dict."""
    return f"{name}:{'*'.join(kept)}"
