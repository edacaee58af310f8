"""The permutation group of a weight space and its action on features.

An element g gives every hidden axis an order of its neurons, ``g[axis]``: position i of the
permuted axis holds neuron ``g[axis][i]``. One element may hold one order per network, ``[m, n]``,
or one for all of them, ``[n]``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dws.space import Features, WeightSpace

Permutation = dict[str, Tensor]
"""Name of a hidden axis -> order of its neurons, int64 ``[n]`` or ``[m, n]``."""


def random_permutation(
    space: WeightSpace,
    generator: torch.Generator | None = None,
    batch: int | None = None,
) -> Permutation:
    """Draw uniformly from the group.

    Args:
        space: whose hidden axes are permuted.
        generator: source of randomness; its device is that of the result.
        batch: None for one element ``[n]`` per axis, or m for independent ones ``[m, n]``.

    Returns:
        One order per hidden axis; empty where the space has none.
    """
    device = generator.device if generator is not None else None
    rows = 1 if batch is None else batch
    g: Permutation = {}
    for axis in space.hidden:
        # float64: ties, which would favour low indices, have probability 1e-13 at width 64
        keys = torch.rand(
            rows, space.sizes[axis], generator=generator, device=device, dtype=torch.float64
        )
        order = keys.argsort(dim=1)
        g[axis] = order[0] if batch is None else order
    return g


def act(space: WeightSpace, g: Permutation, features: Mapping[str, Tensor]) -> Features:
    """Rename the hidden neurons: ``act(g, x)[..., i, ...] = x[..., g[axis][i], ...]``.

    Args:
        space: of the features.
        g: an element of the group, one for all networks or one each.
        features: name -> ``[m, *shape, c]``.

    Returns:
        Features of the same shapes. A network with the permuted weights is the same function.

    Raises:
        ValueError: features of another space, a hidden axis without an order, one whose length is
            not its axis's, orders that are neither one nor as many as the networks, or one of a
            fixed axis of the space. (Axes that the space lacks are passed over: one element acts
            on several spaces that share axes.)
    """
    space.check(features)
    if fixed := sorted(a for a in g if a in space.sizes and a not in space.hidden):
        raise ValueError(f"axes {fixed} are fixed in {space}; give orders of {list(space.hidden)}")
    m = next(iter(features.values())).shape[0]
    for axis in space.hidden:
        n = space.sizes[axis]
        got = list(g[axis].shape) if axis in g else "nothing"
        if got not in ([n], [m, n]):
            raise ValueError(f"axis {axis}: expected an order [{n}] or [{m}, {n}], got {got}")
    return {
        name: _reorder(features[name], [g.get(axis) for axis in axes])
        for name, axes in space.axes.items()
    }


def compose(g: Permutation, h: Permutation) -> Permutation:
    """The element that acts as h first, then g: ``act(compose(g, h), x) = act(g, act(h, x))``.

    Raises:
        ValueError: elements of other axes.
    """
    if g.keys() != h.keys():
        raise ValueError(f"axes {sorted(g)} and {sorted(h)}: give two elements of one group")
    composed: Permutation = {}
    for axis in g:
        a, b = torch.broadcast_tensors(g[axis], h[axis])
        composed[axis] = b.gather(-1, a)
    return composed


def inverse(g: Permutation) -> Permutation:
    """The element that undoes g."""
    return {axis: order.argsort(dim=-1) for axis, order in g.items()}


def _reorder(x: Tensor, orders: list[Tensor | None]) -> Tensor:
    """Index axes 1, 2, ... of ``x`` by the given orders (None: left as it is)."""
    for dim, order in enumerate(orders, start=1):
        if order is None:
            continue
        order = order.to(x.device)
        if order.ndim == 1:
            x = x.index_select(dim, order)
        else:
            shape = [1] * x.ndim
            shape[0], shape[dim] = order.shape
            x = x.gather(dim, order.view(shape).expand_as(x))
    return x
