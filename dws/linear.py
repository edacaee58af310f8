"""Linear equivariant and invariant layers: one executor over the enumerated basis."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from dws.basis import Alpha, blocks
from dws.space import Features, WeightSpace

Pool = Literal["mean", "sum", "max"]
POOLS = ("mean", "sum", "max")


class EquivariantLinear(nn.Module):
    """Every linear map between features that commutes with the group (and its affine shifts).

    For each alpha of :func:`dws.basis.blocks`: pool every tensor that has alpha down to alpha,
    join them along channels, multiply by one matrix, cut, broadcast back, add up. The weights of
    one pair of channels are exactly as many as there are independent maps, :func:`dws.dimension`;
    the biases are :func:`dws.invariant_dimension` per output channel.

    With ``pool="max"`` the terms that pool are no longer linear, but the layer stays equivariant.

    Args:
        space: of the features that come and go.
        in_channels: c of the input, ``[m, *shape, c]``.
        out_channels: c of the output.
        pool: how the axes outside alpha are summarised.
        bias: whether to add a constant per tensor, fixed entry and channel.

    Raises:
        ValueError: an unknown pool or channel counts below 1; on call, features of another space.

    Source: Navon et al. 2023, theorem 4.1, without the restrictions of the published code.
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        out_channels: int,
        pool: Pool = "mean",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_layer(pool, in_channels=in_channels, out_channels=out_channels)
        self.space, self.pool = space, pool
        self.in_channels, self.out_channels = in_channels, out_channels
        self.blocks = blocks(space)
        self.weights = nn.ParameterDict(
            {
                key(block.alpha): nn.Parameter(
                    torch.empty(
                        sum(space.fixed_size(t) for t in block.tensors) * out_channels,
                        sum(space.fixed_size(s) for s in block.tensors) * in_channels,
                    )
                )
                for block in self.blocks
            }
        )
        self.biases = nn.Parameter(torch.empty(self.weights[key(())].shape[0])) if bias else None
        self.reset_parameters()

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
        space = self.space
        terms_into = {t: sum(t in block.tensors for block in self.blocks) for t in space.names}
        drawn: dict[frozenset[str], dict[tuple[str, str], Tensor]] = {}
        for block in self.blocks:
            weight = self.weights[key(block.alpha)]
            weight.normal_(std=sqrt(2.0 / weight.shape[1]))
            own = _submatrices(space, block.tensors, weight, self.in_channels, self.out_channels)
            drawn[frozenset(block.alpha)] = {k: w.clone() for k, w in own.items()}
            for (s, t), w in own.items():
                for larger in self._above(s, t, block.alpha):
                    sign = (-1) ** (len(larger) - len(block.alpha))
                    w += sign * drawn[larger][s, t]
                if self.pool == "sum":
                    w /= prod(space.sizes[a] for a in space.hidden_axes(s) if a not in block.alpha)
                if self.pool == "max":
                    w /= sqrt(terms_into[t])
        if self.biases is not None:
            self.biases.zero_()

    def _above(self, source: str, target: str, alpha: Alpha) -> list[frozenset[str]]:
        """The alphas of one source and target that hold more axes than this one."""
        if self.pool == "max":
            return []
        shared = set(self.space.hidden_axes(source)) & set(self.space.hidden_axes(target))
        rest = sorted(shared - set(alpha))
        return [
            frozenset((*alpha, *more))
            for k in range(1, len(rest) + 1)
            for more in combinations(rest, k)
        ]

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, *shape, out_channels]``."""
        space = self.space
        space.check(features, self.in_channels)
        pooled = Pooled(space, features, self.pool)
        parts: dict[tuple[str, frozenset[str]], Tensor] = {}
        for block in self.blocks:
            joined = torch.cat([pooled(name, block.alpha) for name in block.tensors], dim=-1)
            product = nn.functional.linear(
                joined,
                self.weights[key(block.alpha)],
                self.biases if block.alpha == () else None,
            )
            sizes = [space.fixed_size(name) * self.out_channels for name in block.tensors]
            for name, part in zip(block.tensors, product.split(sizes, dim=-1), strict=True):
                parts[name, frozenset(block.alpha)] = part
        return {name: self._gather(name, parts) for name in space.names}

    def _gather(self, name: str, parts: dict[tuple[str, frozenset[str]], Tensor]) -> Tensor:
        """Broadcast the parts of one tensor to its hidden axes and add them, small ones first."""
        space = self.space
        hidden, fixed = space.hidden_axes(name), space.fixed_axes(name)
        order = {frozenset(block.alpha): block.alpha for block in self.blocks}
        total: Tensor | None = None
        mine = [a for (n, a) in parts if n == name]
        for alpha in sorted(mine, key=len):
            part = parts[name, alpha]
            kept = [a for a in hidden if a in alpha]
            part = part.permute(0, *(order[alpha].index(a) + 1 for a in kept), part.ndim - 1)
            part = part.view(
                part.shape[0],
                *(space.sizes[a] if a in alpha else 1 for a in hidden),
                part.shape[-1],
            )
            total = part if total is None else total + part
        assert total is not None
        total = total.unflatten(-1, (*(space.sizes[a] for a in fixed), self.out_channels))
        return total.permute(0, *_positions(hidden + fixed, space.axes[name]), total.ndim - 1)

    def extra_repr(self) -> str:
        return f"{self.space}, {self.in_channels} -> {self.out_channels}, pool={self.pool}"


class InvariantLinear(nn.Module):
    """Every linear map from features to vectors that the group leaves as they are.

    Pools each tensor over all its hidden axes, joins the results, applies one matrix: per pair of
    channels :func:`dws.invariant_dimension` weights.

    Args:
        space: of the features that come.
        in_channels: c of the input, ``[m, *shape, c]``.
        out_features: length of the output.
        pool: how the hidden axes are summarised.

    Raises:
        ValueError: an unknown pool or sizes below 1; on call, features of another space.

    Source: Navon et al. 2023, section 4.2.
    """

    def __init__(
        self, space: WeightSpace, in_channels: int, out_features: int, pool: Pool = "mean"
    ) -> None:
        super().__init__()
        check_layer(pool, in_channels=in_channels, out_features=out_features)
        self.space, self.pool, self.in_channels = space, pool, in_channels
        entries = sum(space.fixed_size(name) for name in space.names)
        self.linear = nn.Linear(entries * in_channels, out_features)
        if pool == "sum":
            with torch.no_grad():
                for name, columns in zip(
                    space.names,
                    self.linear.weight.split(
                        [space.fixed_size(name) * in_channels for name in space.names], dim=1
                    ),
                    strict=True,
                ):
                    columns /= prod(space.sizes[a] for a in space.hidden_axes(name))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """``[m, *shape, in_channels]`` per tensor -> ``[m, out_features]``."""
        self.space.check(features, self.in_channels)
        pooled = Pooled(self.space, features, self.pool)
        out: Tensor = self.linear(torch.cat([pooled(n, ()) for n in self.space.names], dim=-1))
        return out


class Pooled:
    """The features of every tensor, summarised down to any set of its hidden axes, each once.

    ``pooled(name, alpha)`` is ``[m, *alpha sizes, fixed size * c]``, axes in the order of alpha.
    """

    def __init__(self, space: WeightSpace, features: Mapping[str, Tensor], pool: Pool) -> None:
        self.space, self.pool = space, pool
        self.known: dict[tuple[str, frozenset[str]], Tensor] = {}
        for name in space.names:
            hidden, fixed = space.hidden_axes(name), space.fixed_axes(name)
            x = features[name]
            x = x.permute(0, *_positions(space.axes[name], hidden + fixed), x.ndim - 1)
            self.known[name, frozenset(hidden)] = x.flatten(1 + len(hidden))

    def __call__(self, name: str, alpha: Alpha) -> Tensor:
        x = self._down_to(name, frozenset(alpha))
        kept = [a for a in self.space.hidden_axes(name) if a in alpha]
        return x.permute(0, *_positions(kept, alpha), x.ndim - 1)

    def _down_to(self, name: str, alpha: frozenset[str]) -> Tensor:
        """From the tensor that still has one axis more, so that large tensors are read seldom."""
        if (name, alpha) not in self.known:
            hidden = self.space.hidden_axes(name)
            extra = next(a for a in reversed(hidden) if a not in alpha)
            wider = self._down_to(name, alpha | {extra})
            dim = 1 + [a for a in hidden if a in alpha or a == extra].index(extra)
            self.known[name, alpha] = _POOLS[self.pool](wider, dim)
        return self.known[name, alpha]


_POOLS = {
    "mean": lambda x, dim: x.mean(dim),
    "sum": lambda x, dim: x.sum(dim),
    "max": lambda x, dim: x.amax(dim),
}


def key(alpha: Alpha) -> str:
    """Name of a block's matrix in the state dict."""
    return "*".join(alpha) or "*"


def check_layer(pool: str, **counts: int) -> None:
    """Raise ``ValueError`` on an unknown pool or a count below 1."""
    if pool not in POOLS:
        raise ValueError(f"pool {pool!r} is not known; choose one of {', '.join(POOLS)}")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")


def _positions(order: tuple[str, ...] | list[str], wanted: tuple[str, ...]) -> list[int]:
    """For a permute of [m, *order, ...] to [m, *wanted, ...]."""
    return [1 + order.index(axis) for axis in wanted]


def _submatrices(
    space: WeightSpace, tensors: tuple[str, ...], weight: Tensor, c_in: int, c_out: int
) -> dict[tuple[str, str], Tensor]:
    """Views of a block's matrix: (source, target) -> its F(t) c_out x F(s) c_in part."""
    rows = weight.split([space.fixed_size(t) * c_out for t in tensors], dim=0)
    return {
        (s, t): part
        for t, row in zip(tensors, rows, strict=True)
        for s, part in zip(
            tensors, row.split([space.fixed_size(s) * c_in for s in tensors], dim=1), strict=True
        )
    }
