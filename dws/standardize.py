"""Standardisation of weights that commutes with the group."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dws.space import Features, WeightSpace


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
        """Take the statistics of these weights.

        Args:
            theta: ``[m, size]`` with m >= 1, the training networks.

        Returns:
            Itself.

        Raises:
            ValueError: another shape, or weights that are not finite.
        """
        if not torch.isfinite(theta).all():
            raise ValueError("the weights hold NaN or infinity; leave diverged networks out")
        if theta.ndim != 2 or theta.shape[0] < 1:
            raise ValueError(
                f"expected weights [m, {self.space.size}] of at least one network, "
                f"got {list(theta.shape)}"
            )
        for name, x in self.space.split(theta).items():
            orbit = [
                0,
                *(1 + i for i, a in enumerate(self.space.axes[name]) if a in self.space.hidden),
            ]
            wide = x.double()
            mean = wide.mean(orbit, keepdim=True)
            std = wide.std(orbit, correction=0, keepdim=True)
            self.get_buffer(f"mean_{name}").copy_(mean)
            # an orbit that varies by rounding alone stays near zero: not divided by next to nothing
            kept = self.get_buffer(f"std_{name}")
            noise = torch.finfo(kept.dtype).eps * mean.abs()
            kept.copy_(torch.where(std.to(kept.dtype) > noise, std, 1.0))
        return self

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
