"""Standardisation of weights that commutes with the group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dws.space import Features, WeightSpace

CHUNK_ENTRIES = 1_000_000
"""Weights that statistics are taken of at a time: 8 MB of float64."""


class Standardize(nn.Module):
    """Subtract a mean and divide by a standard deviation, one pair per orbit of the group.

    An orbit is one tensor at one index of its fixed axes: all neurons of a hidden axis share their
    statistics, so that permuting and standardising commute. Statistics per coordinate would not.
    Until :meth:`fit` is called the layer changes nothing.

    Args:
        space: of the features.
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        self.space = space
        for name in space.names:
            shape = self._orbit_shape(name)
            self.register_buffer(f"mean_{name}", torch.zeros(shape))
            self.register_buffer(f"std_{name}", torch.ones(shape))

    def _orbit_shape(self, name: str) -> tuple[int, ...]:
        space = self.space
        return (1, *(1 if a in space.hidden else space.sizes[a] for a in space.axes[name]), 1)

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
                    wide = (wide - centres[name]).square_()
                entries = networks * math.prod(x.shape[i] for i in hidden)
                share = wide.sum([0, *hidden], keepdim=True) / entries
                found[name] = found[name] + share if name in found else share
        return found

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, c]`` per tensor -> the same shapes."""
        return {
            name: (x - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"std_{name}")
            for name, x in features.items()
        }

    def add(self, features: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> Features:
        """Features ``[m, *shape, c]`` plus a change that is counted in standard deviations."""
        return {
            name: x + change[name] * self.get_buffer(f"std_{name}") for name, x in features.items()
        }
