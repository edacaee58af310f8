"""The permutation group of a weight space and its action on features.

An element g gives every hidden axis an order of its neurons, ``g[axis]``: position i of the
permuted axis holds neuron ``g[axis][i]``. One element may hold one order per network, ``[m, n]``,
or one for all of them, ``[n]``. A nested axis has an order for each entry of its parent, ``[p, n]``
or ``[m, p, n]``: position (i, j) holds the neuron (``g[parent][i]``, ``g[axis][i, j]``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dws.basis import slot_owners
from dws.space import Features, WeightSpace

Permutation = dict[str, Tensor]
"""Name of a hidden axis -> order of its neurons, int64 ``[n]`` or ``[m, n]``; of a nested one
``[p, n]`` or ``[m, p, n]`` for the p entries of its parent."""


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
        One order per hidden axis (per entry of its parent, where it is nested); empty where the
        space has none.
    """
    device = generator.device if generator is not None else None
    rows = 1 if batch is None else batch
    g: Permutation = {}
    for axis in space.hidden:
        # float64: ties, which would favour low indices, have probability 1e-13 at width 64
        keys = torch.rand(
            rows, *order_shape(space, axis), generator=generator, device=device, dtype=torch.float64
        )
        order = keys.argsort(dim=-1)
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
        shape = list(order_shape(space, axis))
        got = list(g[axis].shape) if axis in g else "nothing"
        if got not in (shape, [m, *shape]):
            raise ValueError(f"axis {axis}: expected an order {shape} or {[m, *shape]}, got {got}")
    return {name: move(space, g, name, features[name]) for name in space.names}


def move(space: WeightSpace, g: Permutation, name: str, x: Tensor) -> Tensor:
    """One tensor's features ``[m, *shape, c]`` in the orders of g; axes not in g stay."""
    axes = space.axes[name]
    above = slot_owners(space, axes)
    for i in sorted(range(len(axes)), key=lambda i: above[i] is not None):  # parents first
        if axes[i] in g:
            owner = above[i]
            x = _reorder(x, g[axes[i]], (1 + i,) if owner is None else (1 + owner, 1 + i))
    return x


def compose(g: Permutation, h: Permutation, space: WeightSpace | None = None) -> Permutation:
    """The element that acts as h first, then g: ``act(compose(g, h), x) = act(g, act(h, x))``.

    Args:
        g: acts last.
        h: acts first.
        space: needed where axes are nested, to know in which.

    Raises:
        ValueError: elements of other axes, or orders of nested axes without the space.
    """
    if g.keys() != h.keys():
        raise ValueError(f"axes {sorted(g)} and {sorted(h)}: give two elements of one group")
    composed: Permutation = {}
    for axis, parent in _parents(space, g, h).items():
        first = h[axis] if parent is None else _moved_rows(h[axis], g[parent])
        a, b = torch.broadcast_tensors(g[axis], first)
        composed[axis] = b.gather(-1, a)
    return composed


def inverse(g: Permutation, space: WeightSpace | None = None) -> Permutation:
    """The element that undoes g.

    Args:
        g: an element of the group.
        space: needed where axes are nested, to know in which.

    Raises:
        ValueError: orders of nested axes without the space.
    """
    parents = _parents(space, g)
    undone = {axis: g[axis].argsort(dim=-1) for axis in g if parents[axis] is None}
    for axis, parent in parents.items():
        if parent is not None:
            undone[axis] = _moved_rows(g[axis], undone[parent]).argsort(dim=-1)
    return {axis: undone[axis] for axis in g}


def order_shape(space: WeightSpace, axis: str) -> tuple[int, ...]:
    """Shape of one order of an axis: its size, after that of its parent."""
    parent = space.parents.get(axis)
    return (space.sizes[axis],) if parent is None else (space.sizes[parent], space.sizes[axis])


def _parents(space: WeightSpace | None, *elements: Permutation) -> dict[str, str | None]:
    """For each axis the axis that it is nested in, if that is permuted as well."""
    if space is not None:
        return {a: p if (p := space.parents.get(a)) in elements[0] else None for a in elements[0]}
    for g in elements:
        dims = {order.ndim for order in g.values()}
        if len(dims) > 1 or dims - {1, 2}:
            raise ValueError(
                f"the orders of {list(g)} have {sorted(dims)} dimensions, as those of nested axes "
                "do; give the space as well"
            )
    return dict.fromkeys(elements[0])


def _moved_rows(orders: Tensor, parent: Tensor) -> Tensor:
    """Orders ``[p, n]`` or ``[m, p, n]`` for the entries of a parent that ``parent`` has moved."""
    index, orders = torch.broadcast_tensors(parent.unsqueeze(-1), orders)
    return orders.gather(-2, index)


def _reorder(x: Tensor, order: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Index the last of ``dims`` of ``x [m, ...]`` by an order, which the others may index."""
    order = order.to(x.device)
    if order.ndim == 1:
        return x.index_select(dims[-1], order)
    if order.ndim == len(dims):
        order = order.unsqueeze(0)
    in_order = sorted(range(len(dims)), key=dims.__getitem__)
    shape = [1] * x.ndim
    shape[0] = order.shape[0]
    for i in in_order:
        shape[dims[i]] = order.shape[1 + i]
    index = order.permute(0, *(1 + i for i in in_order)).reshape(shape)
    return x.gather(dims[-1], index.expand_as(x))
