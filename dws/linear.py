"""Linear equivariant and invariant layers: one executor over the enumerated basis."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from dws.attention import SetAttention
from dws.basis import Alpha, Block, blocks
from dws.fused import affine
from dws.pooling import AxisPool, Pool, Pooled
from dws.space import Features, WeightSpace

Parts = dict[tuple[str, tuple[str, ...]], Tensor]


class EquivariantLinear(nn.Module):
    """Every linear map between features that commutes with the group (and its affine shifts).

    For each alpha of :func:`dws.basis.blocks`: pool every tensor that has alpha down to alpha,
    join them along channels, multiply by one matrix, cut, broadcast back, add up. The weights of
    one pair of channels are exactly as many as there are independent maps, :func:`dws.dimension`;
    the biases are :func:`dws.invariant_dimension` per output channel.

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
        ValueError: an unknown pool, counts below 1, a target that does not fit; on call, features
            of another space.

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
            if heads and len(block.alpha) == 1:
                self.attend[key(block.alpha)] = SetAttention(columns, rows, heads)
        constants = sum(self.target.fixed_size(t) for t in self.target.names) * out_channels
        self.biases = nn.Parameter(torch.empty(constants)) if bias else None
        self.reset_parameters()

    def _widths(self, block: Block) -> list[int]:
        """Columns of a block's matrix, source by source."""
        return [self.space.fixed_size(s) * self.in_channels for s in block.sources]

    def _heights(self, block: Block) -> list[int]:
        """Rows of a block's matrix, target by target."""
        return [self.target.fixed_size(t) * self.out_channels for t in block.targets]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights that keep the second moment of features through a ReLU, at any width.

        Features are sums of parts that vary along all, some or none of the hidden axes. Each part
        is mapped by a matrix of its own, of variance 2 / fan-in; a term's weights follow by
        inclusion and exclusion, since the terms that keep fewer axes see the same part again.
        Independent weights per term would multiply the constant part by the number of terms and
        shrink the part that tells neurons apart, more so with each layer. (A maximum has no such
        parts: there the terms are independent and share the variance.)
        """
        space, pool = self.space, self.pool
        terms_into = {t: sum(t in b.targets for b in self.blocks) for t in self.target.names}
        drawn: dict[frozenset[str], dict[tuple[str, str], Tensor]] = {}
        for block in self.blocks:
            weight = self.weights[key(block.alpha)]
            weight.normal_(std=sqrt(2.0 / weight.shape[1]))
            own = {
                (s, t): part
                for t, row in zip(block.targets, weight.split(self._heights(block)), strict=True)
                for s, part in zip(block.sources, row.split(self._widths(block), 1), strict=True)
            }
            drawn[frozenset(block.alpha)] = {k: w.clone() for k, w in own.items()}
            for (s, t), w in own.items():
                for larger in self._above(s, t, block.alpha):
                    sign = (-1) ** (len(larger) - len(block.alpha))
                    w += sign * drawn[larger][s, t]
                if pool == "sum":
                    w /= prod(space.sizes[a] for a in space.hidden_axes(s) if a not in block.alpha)
                if pool == "max":
                    w /= sqrt(terms_into[t])
        if self.biases is not None:
            self.biases.zero_()

    def _above(self, source: str, target: str, alpha: Alpha) -> list[frozenset[str]]:
        """The alphas of one source and target that hold more axes than this one."""
        if self.pool == "max":
            return []
        shared = {*self.space.hidden_axes(source)} & {*self.target.hidden_axes(target)}
        rest = sorted(shared - set(alpha))
        return [
            frozenset((*alpha, *more))
            for k in range(1, len(rest) + 1)
            for more in combinations(rest, k)
        ]

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, *shape, out_channels]``."""
        self.space.check(features, self.in_channels)
        return self.on(Pooled.of(self.space, features, self.pooling)).features(self.out_channels)

    def on(self, pooled: Pooled, activate: bool = False, then: AxisPool | None = None) -> Pooled:
        """The layer within a stack.

        Args:
            pooled: features of ``space``.
            activate: whether to apply a ReLU to the result.
            then: how the result will be pooled next; its summaries are taken in the same pass
                where that is possible.
        """
        pooled.pooling = self.pooling
        ahead = then.pool if then is not None and then.pool in ("mean", "sum") else None
        parts, direct = self._products(pooled)
        known: Parts = {}
        for name in self.target.names:
            hidden = self.target.hidden_axes(name)
            mine = self._broadcast(name, parts)
            if name in direct:
                y, *summaries = affine(*direct[name], activate, ahead, *mine)
                for axis, summary in zip(hidden, summaries, strict=bool(ahead)):
                    known[name, tuple(a for a in hidden if a != axis)] = summary
            else:
                y = sum(mine[1:], start=mine[0])
                # the target may have an axis that no part varies along
                y = y.expand(y.shape[0], *(self.target.sizes[a] for a in hidden), y.shape[-1])
                y = relu(y) if activate else y
            known[name, hidden] = y
        return Pooled(self.target, known, then or self.pooling)

    def _products(self, pooled: Pooled) -> tuple[Parts, dict[str, tuple[Tensor, Tensor]]]:
        """Each block's product, by (target, alpha); or its factors, where it is a target's own.

        The one block of a tensor with two or more hidden axes that keeps them all is most of the
        work: it is left to :func:`dws.fused.affine`, to be done together with what follows.
        """
        parts: Parts = {}
        direct: dict[str, tuple[Tensor, Tensor]] = {}
        for block in self.blocks:
            weight, name = self.weights[key(block.alpha)], block.targets[0]
            inputs = [pooled(source, block.alpha) for source in block.sources]
            single = len(block.sources) == len(block.targets) == 1
            if single and len(block.alpha) > 1 and block.alpha == self.target.hidden_axes(name):
                direct[name] = inputs[0], weight
                continue
            joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)
            bias = self.biases if block.alpha == () else None
            product = linear(joined, weight, bias)
            if key(block.alpha) in self.attend:
                product = product + self.attend[key(block.alpha)](joined)
            pieces = product.split(self._heights(block), -1) if not single else [product]
            for target, piece in zip(block.targets, pieces, strict=True):
                kept = tuple(a for a in self.target.hidden_axes(target) if a in block.alpha)
                order = [1 + block.alpha.index(a) for a in kept]
                parts[target, kept] = piece.permute(0, *order, piece.ndim - 1)
        return parts, direct

    def _broadcast(self, name: str, parts: Parts) -> list[Tensor]:
        """The parts of one target, shaped to broadcast; the constant one added to a small one."""
        hidden = self.target.hidden_axes(name)
        kept = sorted((k for n, k in parts if n == name), key=len)
        shaped = []
        for axes in kept:
            part = parts[name, axes]
            sizes = [self.target.sizes[a] if a in axes else 1 for a in hidden]
            shaped.append(part.reshape(part.shape[0], *sizes, part.shape[-1]))
        if len(shaped) > 1 and kept[0] == ():
            shaped[:2] = [shaped[0] + shaped[1]]
        return shaped

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
        widths = [space.fixed_size(name) * in_channels for name in space.names]
        self.linear = nn.Linear(sum(widths), out_features)
        if pool == "sum":
            with torch.no_grad():
                parts = self.linear.weight.split(widths, dim=1)
                for name, columns in zip(space.names, parts, strict=True):
                    columns /= prod(space.sizes[a] for a in space.hidden_axes(name))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, out_features]``."""
        self.space.check(features, self.in_channels)
        return self.on(Pooled.of(self.space, features, self.pooling))

    def on(self, pooled: Pooled) -> Tensor:
        """The layer after a stack."""
        pooled.pooling = self.pooling
        out: Tensor = self.linear(torch.cat([pooled(n, ()) for n in self.space.names], dim=-1))
        return out

    def extra_repr(self) -> str:
        """The space and the sizes, for `print`."""
        return f"{self.space}"


def key(alpha: Alpha) -> str:
    """Name of a block's matrix in the state dict."""
    return "*".join(alpha) or "*"


def check_counts(**counts: int) -> None:
    """Raise ``ValueError`` on a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")
