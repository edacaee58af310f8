"""Linear equivariant and invariant layers: one executor over the enumerated basis."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dws.attention import SetAttention
from dws.basis import (
    Alpha,
    Block,
    Occurrences,
    Partition,
    Way,
    blocks,
    invariant_dimension,
    slot_owners,
)
from dws.fused import affine
from dws.initialise import draw_weights
from dws.pooling import AxisPool, Packed, Pool, Pooled, on_diagonal
from dws.space import Features, WeightSpace

Parts = dict[Way, Tensor]


class EquivariantLinear(nn.Module):
    """Every linear map between features that commutes with the group (and its affine shifts).

    For each alpha of :func:`dws.basis.blocks`: bring every tensor that has alpha down to alpha, in
    every way (average, diagonal, transpose), join them along channels, multiply by one matrix, cut,
    spread in every way, add up. The weights of one pair of channels are :func:`dws.dimension`, the
    biases :func:`dws.invariant_dimension` per output channel: exactly as many as there are
    independent maps and constants, where no hidden axis is shorter than `dws.basis` asks for.

    Not linear, but still equivariant, are the terms that pool with ``"max"`` or ``"attention"``,
    and those of ``heads``: the neurons of each axis then also attend to each other.

    Args:
        space: of the features that come.
        in_channels: c of the input, ``[m, *shape, c]``.
        out_channels: c of the output.
        pool: how the axes outside alpha are summarised: mean, sum, max or attention.
        bias: whether to add a constant per tensor, fixed entry and channel.
        heads: of the attention among the neurons of an axis, 0 for none.
        target: space of the features that go, on axes of ``space``; the same if not given.

    Raises:
        ValueError: an unknown pool, counts below 1, a target that does not fit, an axis nested in a
            fixed one; on call, features of another space.

    Source: Navon et al. 2023, section 5, without the restrictions of the published code; heads
    as in its default layers (set attention of Lee et al. 2019).
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        out_channels: int,
        pool: Pool = "mean",
        bias: bool = True,
        heads: int = 0,
        target: WeightSpace | None = None,
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, out_channels=out_channels)
        self.space, self.target = space, target or space
        self.in_channels, self.out_channels = in_channels, out_channels
        self.blocks = blocks(space, self.target)
        self.pool, self.pooling = pool, AxisPool(space, in_channels, pool)
        self.weights, self.attend = nn.ParameterDict(), nn.ModuleDict()
        for block in self.blocks:
            rows, columns = sum(self._heights(block)), sum(self._widths(block))
            self.weights[key(block.alpha)] = nn.Parameter(torch.empty(rows, columns))
            chain = slot_owners(space, block.alpha) == (None, *range(len(block.alpha) - 1))
            if heads and chain:  # one axis, or one with the parents that it is nested in
                self.attend[key(block.alpha)] = SetAttention(columns, rows, heads)
        self._own = frozenset(b.alpha for b in self.blocks if self._is_own(b))
        self._into = {name: self._ways_into(name) for name in self.target.names}
        constants = invariant_dimension(self.target) * out_channels
        self.biases = nn.Parameter(torch.empty(constants)) if bias else None
        self.reset_parameters()

    def _widths(self, block: Block) -> list[int]:
        """Columns of a block's matrix, source by source."""
        return [self.space.fixed_size(s.tensor) * self.in_channels for s in block.sources]

    def _heights(self, block: Block) -> list[int]:
        """Rows of a block's matrix, target by target."""
        return [self.target.fixed_size(t.tensor) * self.out_channels for t in block.targets]

    def _is_own(self, block: Block) -> bool:
        """Whether one tensor alone goes to all of one tensor with two or more hidden axes."""
        way, sources = block.targets[0], {s.tensor for s in block.sources}
        whole = tuple((i,) for i in range(len(self.target.hidden_axes(way.tensor))))
        alone = len(block.targets) == len(sources) == 1
        return alone and len(block.alpha) > 1 and way.kept == whole

    def reset_parameters(self) -> None:
        """Draw weights by the formula of :mod:`dws.initialise`; biases are zero."""
        matrices = [self.weights[key(block.alpha)] for block in self.blocks]
        draw_weights(matrices, self.blocks, self.space, self.target, self.pool)
        if self.biases is not None:
            nn.init.zeros_(self.biases)

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, *shape, out_channels]``."""
        self.space.check(features, self.in_channels)
        return self.on(Packed.of(self.space, features)).features(self.out_channels)

    def on(self, packed: Packed, relu: bool = False) -> Packed:
        """The layer within a stack.

        Args:
            packed: features of ``space``.
            relu: whether to apply a ReLU to the result, which then is another layer's input: its
                summaries are taken in the same pass where that is possible.
        """
        pooled = Pooled(packed, self.pooling)
        ahead = self.pool if relu and self.pool in ("mean", "sum") else None
        parts, direct = self._products(pooled)
        tensors: dict[str, Tensor] = {}
        summaries: dict[Way, Tensor] = {}
        for name in self.target.names:
            mine = self._broadcast(name, parts)
            if name in direct:
                y, *means = affine(*direct[name], relu, ahead, *mine)
                summaries.update(zip(_without_one(name, len(means)), means, strict=True))
            else:
                y = sum(mine[1:], start=mine[0])
                # the target may have an axis that no part varies along
                y = y.expand(y.shape[0], *self._hidden_sizes(name), y.shape[-1])
                y = torch.relu(y) if relu else y
            tensors[name] = y
        return Packed(self.target, tensors, ahead, summaries)

    def _products(self, pooled: Pooled) -> tuple[Parts, dict[str, tuple[Tensor, Tensor]]]:
        """Each block's product, by way of the target; or its factors, where it is a target's own.

        The one block of a tensor with two or more hidden axes that keeps them all is most of the
        work: it is left to :func:`dws.fused.affine`, to be done together with what follows.
        """
        parts: Parts = {}
        direct: dict[str, tuple[Tensor, Tensor]] = {}
        for block in self.blocks:
            weight = self.weights[key(block.alpha)]
            inputs = [pooled(way) for way in block.sources]
            joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)
            if block.alpha in self._own:
                direct[block.targets[0].tensor] = joined, weight
                continue
            bias = self.biases if block.alpha == () else None
            product = linear(joined, weight, bias)
            if key(block.alpha) in self.attend:
                # the entries of a nested axis attend to each other whatever their parents
                attended = self.attend[key(block.alpha)](joined.flatten(1, -2))
                product = product + attended.reshape(product.shape)
            single = len(block.sources) == len(block.targets) == 1
            pieces = product.split(self._heights(block), -1) if not single else [product]
            for way, piece in zip(block.targets, pieces, strict=True):
                if len(way.kept) > 1:
                    order = [1 + way.kept.index(tie) for tie in way.in_order.kept]
                    piece = piece.permute(0, *order, piece.ndim - 1)
                parts[way] = piece
        return parts, direct

    def _ways_into(self, name: str) -> list[tuple[Partition, list[Way]]]:
        """The ways into a target whose products are parts of it, fewer axes first, by ties."""
        found: dict[Partition, list[Way]] = {}
        ways = [t for b in self.blocks if b.alpha not in self._own for t in b.targets]
        for way in sorted((w for w in ways if w.tensor == name), key=lambda w: len(w.kept)):
            found.setdefault(way.ties, []).append(way)
        return list(found.items())

    def _broadcast(self, name: str, parts: Parts) -> list[Tensor]:
        """The parts of one target, shaped to broadcast; the constant one added to a small one."""
        sizes, shaped = self._hidden_sizes(name), []
        for ties, ways in self._into[name]:
            mine = []
            for way in ways:
                wide = [sizes[tie[0]] if tie in way.kept else 1 for tie in ties]
                part = parts[way]
                mine.append(part.reshape(part.shape[0], *wide, part.shape[-1]))
            if len(mine) > 1 and ways[0].kept == ():
                mine[:2] = [mine[0] + mine[1]]
            if len(ties) < len(sizes):
                total = sum(mine[1:], start=mine[0])
                wide = [
                    sizes[tie[0]] if len(tie) > 1 else total.shape[1 + k]
                    for k, tie in enumerate(ties)
                ]
                total = total.expand(total.shape[0], *wide, total.shape[-1])
                mine = [on_diagonal(total, ties)]
            shaped += mine
        return shaped

    def _hidden_sizes(self, name: str) -> list[int]:
        return [self.target.sizes[a] for a in self.target.hidden_axes(name)]

    def extra_repr(self) -> str:
        """The space and the sizes, for `print`."""
        to = "" if self.target is self.space else f" to {self.target}"
        return f"{self.space}{to}, {self.in_channels} -> {self.out_channels}, pool={self.pool}"


class InvariantLinear(nn.Module):
    """Every linear map from features to vectors that the group leaves as they are.

    Pools each tensor over all its hidden axes, joins the results, applies one matrix: per pair of
    channels :func:`dws.invariant_dimension` weights.

    Args:
        space: of the features that come.
        in_channels: c of the input, ``[m, *shape, c]``.
        out_features: length of the output.
        pool: how the hidden axes are summarised: mean, sum, max or attention.

    Raises:
        ValueError: an unknown pool or sizes below 1; on call, features of another space.

    Source: Navon et al. 2023, section 5.
    """

    def __init__(
        self, space: WeightSpace, in_channels: int, out_features: int, pool: Pool = "mean"
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, out_features=out_features)
        self.space, self.in_channels = space, in_channels
        self.pool, self.pooling = pool, AxisPool(space, in_channels, pool)
        found = Occurrences(space)
        self.ways = tuple(way for n in space.names for way in found.ways(n, (), ()))
        widths = [space.fixed_size(way.tensor) * in_channels for way in self.ways]
        self.linear = nn.Linear(sum(widths), out_features)
        if pool == "sum":
            with torch.no_grad():
                parts = self.linear.weight.split(widths, dim=1)
                for way, columns in zip(self.ways, parts, strict=True):
                    axes = space.hidden_axes(way.tensor)
                    columns /= prod(space.sizes[axes[tie[0]]] for tie in way.rest)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, out_features]``."""
        self.space.check(features, self.in_channels)
        return self.on(Packed.of(self.space, features))

    def on(self, packed: Packed) -> Tensor:
        """The layer after a stack."""
        pooled = Pooled(packed, self.pooling)
        out: Tensor = self.linear(torch.cat([pooled(way) for way in self.ways], dim=-1))
        return out

    def extra_repr(self) -> str:
        """The space and the sizes, for `print`."""
        return f"{self.space}"


def _without_one(name: str, axes: int) -> list[Way]:
    """The views of a tensor that each lack one of its hidden axes."""
    singles = [(i,) for i in range(axes)]
    return [Way(name, tuple(t for t in singles if t != tie), (tie,)) for tie in singles]


def key(alpha: Alpha) -> str:
    """Name of a block's matrix in the state dict."""
    return "*".join(alpha) or "*"


def check_counts(**counts: int) -> None:
    """Raise ``ValueError`` on a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")
