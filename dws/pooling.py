"""Summaries of features along hidden axes: mean, sum, maximum, or attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dws.basis import Occurrences, Partition, Tie, Way
from dws.space import Features, WeightSpace

Pool = Literal["mean", "sum", "max", "attention"]
POOLS = get_args(Pool)


class AxisPool(nn.Module):
    """Summarise one hidden axis of one tensor: ``[m, ..., n, ..., F c] -> [m, ..., F c]``.

    Attention weighs the neurons by a softmax of a learned score of their features, one score
    vector for each tensor and set of axes (of ties, where an axis appears twice in a tensor); it
    starts as the mean.

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
        self.space, self.pool = space, pool
        self.scores = nn.ParameterDict()
        if pool == "attention":
            found = Occurrences(space)
            for name in space.names:
                scored = {view.wider for view in found.views(name) if view.rest}
                for view in sorted(scored, key=lambda view: (len(view.kept), view.kept, view.rest)):
                    scores = nn.Parameter(torch.zeros(space.fixed_size(name) * channels))
                    self.scores[self._key(view)] = scores

    def forward(self, x: Tensor, view: Way, tie: Tie) -> Tensor:
        """Summarise one of the kept ties of a view, whose features are ``x``."""
        dim = 1 + view.kept.index(tie)
        if self.pool == "mean":
            return x.mean(dim)
        if self.pool == "sum":
            return x.sum(dim)
        if self.pool == "max":
            return x.amax(dim)
        weights: Tensor = (x @ self.scores[self._key(view)]).softmax(dim)
        return (x * weights.unsqueeze(-1)).sum(dim)

    def _key(self, view: Way) -> str:
        """Name of a score vector in the state dict: the axes kept, or their positions."""
        axes = self.space.hidden_axes(view.tensor)
        if len(set(axes)) == len(axes):
            return f"{view.tensor}:{'*'.join(axes[tie[0]] for tie in view.kept)}"
        kept, rest = (
            "*".join("=".join(map(str, tie)) for tie in ties) for ties in (view.kept, view.rest)
        )
        return f"{view.tensor}:{kept}|{rest}"


@dataclass(frozen=True)
class Packed:
    """Features as the layers hold them: hidden axes first, fixed axes and channels joined.

    Attributes:
        space: of the features.
        tensors: name -> ``[m, *hidden sizes, F c]`` for the product F of the fixed sizes.
        pool: how the ``summaries`` were taken, None where there are none.
        summaries: those that were taken in the pass that made the features.
    """

    space: WeightSpace
    tensors: Mapping[str, Tensor]
    pool: str | None = None
    summaries: Mapping[Way, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, space: WeightSpace, features: Mapping[str, Tensor]) -> Packed:
        """From ``[m, *shape, c]`` per tensor."""
        tensors = {}
        for name in space.names:
            hidden, dims, x = space.hidden_axes(name), _hidden_first(space, name), features[name]
            tensors[name] = x.permute(0, *dims, x.ndim - 1).flatten(1 + len(hidden))
        return cls(space, tensors)

    def features(self, channels: int) -> Features:
        """``[m, *shape, c]`` per tensor."""
        space, out = self.space, {}
        for name, packed in self.tensors.items():
            x = packed.unflatten(-1, (*(space.sizes[a] for a in space.fixed_axes(name)), channels))
            dims = _hidden_first(space, name)
            back = [1 + dims.index(1 + i) for i in range(len(dims))]
            out[name] = x.permute(0, *back, x.ndim - 1)
        return out


class Pooled:
    """Packed features brought to any alpha, each summary taken once.

    ``pooled(way)`` is ``[m, *alpha sizes, F c]``.

    Args:
        packed: the features.
        pooling: how one axis is summarised.
    """

    def __init__(self, packed: Packed, pooling: AxisPool) -> None:
        self.packed, self.pooling = packed, pooling
        self.known = dict(packed.summaries) if packed.pool == pooling.pool else {}

    def __call__(self, way: Way) -> Tensor:
        view = way.in_order
        x = self._view(view)
        if view.kept == way.kept:
            return x
        return x.permute(0, *(1 + view.kept.index(tie) for tie in way.kept), x.ndim - 1)

    def _view(self, view: Way) -> Tensor:
        """From the view that still has one axis more, so that large tensors are read seldom."""
        if view not in self.known:
            if view.rest:
                wider = view.wider
                x = self.pooling(self._view(wider), wider, view.rest[-1])
            else:
                x = diagonal(self.packed.tensors[view.tensor], view.kept)
            self.known[view] = x
        return self.known[view]


def diagonal(x: Tensor, ties: Partition) -> Tensor:
    """``[m, *occurrences, k] -> [m, *ties, k]``: entries with one index for each tie."""
    if ties == tuple((i,) for i in range(len(ties))):
        return x
    last = len(ties)
    of = {occurrence: k for k, tie in enumerate(ties) for occurrence in tie}
    order = [of[i] for i in range(len(of))]
    return torch.einsum(x, [last, *order, last + 1], [last, *range(last), last + 1])


def on_diagonal(x: Tensor, ties: Partition) -> Tensor:
    """``[m, *ties, k] -> [m, *occurrences, k]``, zero where the indices of a tie differ."""
    order = [tie[0] for tie in ties]
    for tie in ties:
        at = 1 + order.index(tie[0])
        for occurrence in tie[1:]:  # gets a dimension of its own, the last one before the channels
            x = torch.diag_embed(x.movedim(at, -1)).movedim(-2, at).movedim(-1, -2)
            order.append(occurrence)
    return x.permute(0, *(1 + order.index(i) for i in range(len(order))), x.ndim - 1)


def _hidden_first(space: WeightSpace, name: str) -> list[int]:
    """Dimensions of ``[m, *shape, c]`` as the layers hold them."""
    axes = list(enumerate(space.axes[name], start=1))
    hidden = [i for i, a in axes if a in space.hidden]
    return hidden + [i for i, a in axes if a not in space.hidden]
