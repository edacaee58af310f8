"""Standardisation of weights that commutes with the group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dws.basis import Occurrences, refines
from dws.pooling import on_diagonal
from dws.space import Features, WeightSpace

CHUNK_ENTRIES = 1_000_000
"""Weights that statistics are taken of at a time: 8 MB of float64."""


class Standardize(nn.Module):
    """Subtract a mean and divide by a standard deviation, one pair per orbit of the group.

    An orbit is one tensor at one index of its fixed axes: all neurons of a hidden axis share their
    statistics, so that permuting and standardising commute. Statistics per coordinate would not.
    Where a hidden axis appears twice in a tensor, the diagonal is an orbit of its own; in general
    there is one for each pattern of equal indices. Until :meth:`fit` is called the layer changes
    nothing.

    Args:
        space: of the features.
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        self.space = space
        for name in space.names:
            shape = [1 if a in space.hidden else space.sizes[a] for a in space.axes[name]]
            patterns = _patterns(space, name)
            self.register_buffer(f"mean_{name}", torch.zeros(len(patterns), *shape, 1))
            self.register_buffer(f"std_{name}", torch.ones(len(patterns), *shape, 1))
            if len(patterns) > 1:
                self.register_buffer(f"pattern_{name}", patterns, persistent=False)

    @torch.no_grad()
    def fit(self, theta: Tensor) -> Standardize:
        """Take the statistics of these weights, a few networks at a time: it needs little memory.

        Args:
            theta: ``[m, size]`` with m >= 1, the training networks.

        Returns:
            Itself.

        Raises:
            ValueError: another shape, or weights that are not finite.
        """
        if theta.ndim != 2 or theta.shape[0] < 1:
            raise ValueError(
                f"expected weights [m, {self.space.size}] of at least one network, "
                f"got {list(theta.shape)}"
            )
        parts = theta.split(max(1, CHUNK_ENTRIES // self.space.size))
        if not all(torch.isfinite(part).all() for part in parts):
            raise ValueError("the weights hold NaN or infinity; leave diverged networks out")
        means = self._means(parts)
        variances = self._means(parts, means)
        for name, mean in means.items():
            std = variances[name].sqrt()
            self.get_buffer(f"mean_{name}").copy_(mean)
            # an orbit that varies by rounding alone stays near zero: not divided by next to nothing
            kept = self.get_buffer(f"std_{name}")
            noise = torch.finfo(kept.dtype).eps * mean.abs()
            kept.copy_(torch.where(std.to(kept.dtype) > noise, std, 1.0))
        return self

    def _means(
        self, parts: Sequence[Tensor], centres: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """In float64 the mean over each orbit; with centres, of squared distances from them."""
        space, found = self.space, dict[str, Tensor]()
        networks = sum(len(part) for part in parts)
        for part in parts:
            for name, x in space.split(part).items():
                hidden = [i for i, a in enumerate(space.axes[name], start=1) if a in space.hidden]
                wide = x.double()
                if centres is not None:
                    wide = (wide - self._spread(name, centres[name])).square_()
                if (patterns := self._patterns(name)) is None:
                    entries = networks * math.prod(x.shape[i] for i in hidden)
                    share = wide.sum([0, *hidden], keepdim=True) / entries
                else:
                    total = (wide.sum(0, keepdim=True) * patterns).sum(hidden, keepdim=True)
                    share = total / (networks * patterns.sum(hidden, keepdim=True).clamp(min=1))
                found[name] = found[name] + share if name in found else share
        return found

    def _patterns(self, name: str) -> Tensor | None:
        """Which entries have which pattern of equal indices, None where there is one pattern."""
        return getattr(self, f"pattern_{name}", None)

    def _spread(self, name: str, statistic: Tensor) -> Tensor:
        """One value per orbit -> ``[1, ...]``, which broadcasts to the entries."""
        if (patterns := self._patterns(name)) is None:
            return statistic
        return (statistic * patterns).sum(0, keepdim=True)

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, c]`` per tensor -> the same shapes."""
        return {
            name: (x - self._spread(name, self.get_buffer(f"mean_{name}")))
            / self._spread(name, self.get_buffer(f"std_{name}"))
            for name, x in features.items()
        }

    def add(self, features: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> Features:
        """Features ``[m, *shape, c]`` plus a change that is counted in standard deviations."""
        return {
            name: x + change[name] * self._spread(name, self.get_buffer(f"std_{name}"))
            for name, x in features.items()
        }


def _patterns(space: WeightSpace, name: str) -> Tensor:
    """``[patterns, *shape, 1]`` of a tensor, 1 on fixed axes: ones where just these indices tie."""
    partitions = Occurrences(space).partitions(name)
    dims = [i for i, a in enumerate(space.axes[name], start=1) if a in space.hidden]
    shape = [space.sizes[a] if a in space.hidden else 1 for a in space.axes[name]]
    found = []
    for ties in partitions:
        x = torch.ones(1, *(space.sizes[space.axes[name][dims[tie[0]] - 1]] for tie in ties), 1)
        found.append(on_diagonal(x, ties).view(*shape, 1))
    # ones wherever at least these tie -> the finest pattern is left where no coarser one holds
    exact = torch.stack(found)
    for i in reversed(range(len(partitions))):
        for j in range(i + 1, len(partitions)):
            if refines(partitions[i], partitions[j]):
                exact[i] -= exact[j]
    return exact
