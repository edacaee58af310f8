"""Alignment: the order of the hidden neurons that brings networks closest to a reference.

Aligned networks are the same functions, and their weights can be compared or averaged entry by
entry: what a plain MLP on flat weights needs before it learns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod

import torch
from torch import Tensor

from dws.basis import slot_owners
from dws.group import Permutation, act, compose, move, order_shape
from dws.space import WeightSpace

CHUNK_ENTRIES = 1_000_000
"""Weights and scores of one axis, over the networks that are matched at a time: 8 MB of float64."""

SWEEPS = 100
"""Most passes over the axes; a descent stops by itself after a few."""

ROUNDING = 1e-12
"""Gain in ``<reference, weights>``, relative to the product of their norms, that counts as none."""

NOT_COMPARED = ("mean", "variance")
"""Kinds of tensors that are reordered but do not enter the distance."""


def match(space: WeightSpace, theta: Tensor, reference: Tensor) -> Permutation:
    """The orders of hidden neurons that bring each network closest to a reference.

    It seeks ``argmin_g |act(g, theta) - reference|`` (Euclidean). With all other axes held, the
    best order of one hidden axis is a linear assignment: ``argmax_g sum_i S[i, g(i)]``, where
    ``S[i, j]`` sums the products of the reference at neuron i and the weights at neuron j, over all
    tensors with that axis. Axis after axis is solved until none of them changes. Each network takes
    the better of two descents: one from the order that it has, and one from a first sweep in which
    tensors whose other axes are not matched yet are compared as sorted values. The second finds a
    planted permutation where neurons differ by more than noise.

    An axis that a tensor has twice is held in one place while it is solved in the other, and the
    order is taken only if the distance itself became smaller. The entries of a parent are paired by
    the distance that is left once what is nested in them is in its best order.

    With one hidden axis that no tensor has twice this is the minimum. Else it is a minimum in every
    axis alone, not necessarily in all of them (that problem is NP-hard), and never farther than the
    order given. Running means and variances (`space.kinds`) are not part of the distance: they
    follow from weights and data, and their scale would drown the weights.

    Args:
        space: of the weights; any space.
        theta: ``[m, size]``.
        reference: ``[size]`` for all networks, or ``[m, size]``, one each.

    Returns:
        One order ``[m, n]`` per hidden axis (``[m, p, n]`` where it is nested in one of p entries),
        so that ``act(space, match(...), space.split(theta))`` is near the reference. No order
        depends on the other networks. Empty where the space has no hidden axis.

    Raises:
        ValueError: weights of another size, as many references as neither one nor m, or weights
            that are NaN or infinite.

    Source: weight matching of Ainsworth et al. 2023, Git Re-Basin (arXiv 2209.04836), algorithm 1.
    """
    _check(space, theta, reference)
    parts = [_match_chunk(space, *pair) for pair in _chunks(space, theta, reference)]
    return {axis: torch.cat([g[axis] for g in parts]) for axis in space.hidden}


def align(
    space: WeightSpace, theta: Tensor, reference: Tensor | None = None, rounds: int = 3
) -> Tensor:
    """The same functions with their weights reordered, by :func:`match`, towards a reference.

    Without a reference the networks are aligned to each other: the first round matches all to the
    first network, each later one matches what the round before returned to its mean. From round to
    round the mean squared distance to the mean never increases. Nothing is random.

    Args:
        space: of the weights; any space.
        theta: ``[m, size]``.
        reference: ``[size]``, ``[m, size]`` or None.
        rounds: without a reference, how many, at least 1; unused with one.

    Returns:
        ``[m, size]``: each network's own numbers, bit for bit, in another order.

    Raises:
        ValueError: as :func:`match`, or a number of rounds below 1.

    Source: Navon et al. 2023 (arXiv 2301.12780) align networks in this way for their baselines.
    """
    if reference is not None:
        return _aligned(space, theta, reference)
    if rounds < 1:
        raise ValueError(f"rounds: got {rounds}, expected at least 1")
    _check(space, theta)  # now, since no networks have no round
    for k in range(rounds if len(theta) else 0):
        theta = _aligned(space, theta, theta.mean(0) if k else theta[0])
    return theta


def _aligned(space: WeightSpace, theta: Tensor, reference: Tensor) -> Tensor:
    _check(space, theta, reference)
    aligned, done = torch.empty_like(theta), 0
    for x, r in _chunks(space, theta, reference):
        order = _match_chunk(space, x, r)
        aligned[done : done + len(x)] = space.flatten(act(space, order, space.split(x)))
        done += len(x)
    return aligned


def _check(space: WeightSpace, theta: Tensor, reference: Tensor | None = None) -> None:
    if theta.ndim != 2 or theta.shape[1] != space.size:
        raise ValueError(
            f"theta: expected weights [m, {space.size}] for {space}, got {list(theta.shape)}"
        )
    shapes = [[space.size], [len(theta), space.size]]
    if reference is not None and list(reference.shape) not in shapes:
        raise ValueError(
            f"reference: expected weights {shapes[0]} or {shapes[1]} for {space}, "
            f"got {list(reference.shape)}"
        )
    for name, weights in {"theta": theta, "reference": reference}.items():
        if weights is None:
            continue
        # extremes carry NaN on, and unlike isfinite make no copies of the weights
        low, high = weights.reshape(-1, space.size).aminmax(dim=1)
        if len(bad := (low.isfinite() & high.isfinite()).logical_not().nonzero()):
            raise ValueError(
                f"{name}: network {bad[0].item()} has weights that are NaN or infinite and cannot "
                "be matched; leave out networks whose fit diverged"
            )


def _chunks(
    space: WeightSpace, theta: Tensor, reference: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Networks and their references ``[rows, size]``, few enough to bound the memory."""
    widest = max((prod(order_shape(space, a)) for a in space.hidden), default=0)
    rows = max(1, CHUNK_ENTRIES // (space.size + widest**2))
    return zip(theta.split(rows), reference.expand(len(theta), -1).split(rows), strict=True)


def _match_chunk(space: WeightSpace, theta: Tensor, reference: Tensor) -> Permutation:
    near = _Search(space, theta, reference)
    near.descend()
    if not any(near.coupled.values()):  # one descent has found the minimum
        return near.g
    far = _Search(space, theta, reference)
    far.first_sweep()
    far.descend()
    take_far = far.closeness() > near.closeness() + near.rounding
    return {
        a: torch.where(take_far.view(-1, *[1] * (g.ndim - 1)), far.g[a], g)
        for a, g in near.g.items()
    }


class _Search:
    """Networks ``x = act(g, theta)`` on their way to their references ``r``."""

    def __init__(self, space: WeightSpace, theta: Tensor, reference: Tensor) -> None:
        self.space = space
        self.children = {
            a: [b for b in space.hidden if space.parents.get(b) == a] for a in space.hidden
        }
        # the tensors that change with an axis, or with what is nested in it ...
        self.stars = {
            a: [t for t in space.names if {a, *self.children[a]} & {*space.axes[t]}]
            for a in space.hidden
        }
        # ... and the other hidden axes that its best order depends on
        self.coupled = {
            a: {b for t in star for b in space.hidden_axes(t)} - ({a} - self._quadratic(a))
            for a, star in self.stars.items()
        }
        # products of float32 are exact in float64
        self.flat_x = theta.detach().to(torch.float64, copy=True)
        self.flat_r = reference.detach().to(torch.float64, copy=True)
        if (left_out := _left_out(space, theta)) is not None:
            self.flat_x[:, left_out] = 0
            self.flat_r[:, left_out] = 0
        self.x, self.r = space.split(self.flat_x), space.split(self.flat_r)
        self.rounding = ROUNDING * self.flat_x.norm(dim=1) * self.flat_r.norm(dim=1)
        self.all_rows = torch.arange(len(theta), device=theta.device)
        self.g = {a: self._unmoved(a, len(theta)) for a in space.hidden}

    def closeness(self) -> Tensor:
        """``<r, x>`` of each network, ``[m]``: the larger, the smaller the distance."""
        return (self.flat_r * self.flat_x).sum(1)

    def descend(self) -> None:
        """Solve axis after axis until no order of any network changes."""
        due = {a: torch.ones_like(self.all_rows, dtype=torch.bool) for a in self.space.hidden}
        for _ in range(SWEEPS):
            for axis in self.space.hidden:
                rows = self.all_rows[due[axis]]
                due[axis][rows] = False
                rows = self.improve(axis, rows)
                for other in self.coupled[axis]:
                    due[other][rows] = True
            if not any(rows.any() for rows in due.values()):
                return

    def first_sweep(self) -> None:
        """Solve every axis once, for better or worse, whatever the orders are.

        Where a tensor has other axes that are not solved yet, each neuron's weights are compared as
        sorted over them: their order cannot matter.
        """
        unknown = set(self.space.hidden)
        for axis in self.space.hidden:
            if self.space.parents.get(axis) in self.space.hidden:
                continue  # solved together with its parent
            unknown -= {axis, *self.children[axis]}
            self.reorder(self.all_rows, self.best(axis, self.all_rows, unknown)[0])

    def improve(self, axis: str, rows: Tensor) -> Tensor:
        """Solve one axis of some networks; the rows of those that came closer."""
        orders, gain = self.best(axis, rows)
        if gain is None:  # the score is no more than a guess: see what comes of it
            gain = torch.zeros_like(self.rounding[rows])
            for name in self.stars[axis]:
                x = self.x[name][rows]
                change = move(self.space, orders, name, x) - x
                gain += (self.r[name][rows] * change).flatten(1).sum(1)
        better = gain > self.rounding[rows]
        self.reorder(rows[better], {a: order[better] for a, order in orders.items()})
        return rows[better]

    def best(
        self, axis: str, rows: Tensor, unknown: Collection[str] | None = None
    ) -> tuple[Permutation, Tensor | None]:
        """The best order of an axis and of those nested in it, all others held, and its gain.

        An axis that appears twice in a tensor is held in one place while it is moved in the other:
        then the gain is not known, and None.
        """
        if self.children[axis]:
            return self._best_with_children(axis, rows, unknown), None
        score = self.scores(axis, rows, unknown)
        order = _assignment(score)
        gain = score.gather(-1, order.unsqueeze(-1)).squeeze(-1) - score.diagonal(0, -2, -1)
        return {axis: order}, None if self._quadratic(axis) else gain.flatten(1).sum(1)

    def _best_with_children(
        self, axis: str, rows: Tensor, unknown: Collection[str] | None
    ) -> Permutation:
        """For every pair of entries the best orders within, then the best pairs of entries."""
        score = self.scores(axis, rows, unknown)
        inner = {}
        for child in self.children[axis]:
            within = self.scores(child, rows, unknown, across=True)
            inner[child] = _assignment(within)
            score += within.gather(-1, inner[child].unsqueeze(-1)).flatten(-2).sum(-1)
        order = _assignment(score)
        found = {axis: order}
        for child, orders in inner.items():  # [m, i, j, n], of which j = order[i]
            index = order[..., None, None].expand(*order.shape, 1, orders.shape[-1])
            found[child] = orders.gather(-2, index).squeeze(-2)
        return found

    def scores(
        self,
        axis: str,
        rows: Tensor,
        unknown: Collection[str] | None = None,
        across: bool = False,
    ) -> Tensor:
        """``S[i, j]`` = <reference at neuron i, weights at neuron j>, ``[rows, n, n]``.

        Of a nested axis ``[rows, p, n, n]`` for each entry of its parent, or ``across`` all pairs
        of these entries ``[rows, p, p, n, n]``. Of a parent, only over the tensors without the axes
        that are nested in it. With ``unknown`` axes (None where every order counts), also the other
        places of this one are.
        """
        sizes = order_shape(self.space, axis)
        total = self.flat_x.new_zeros(len(rows), *sizes, sizes[-1])
        if across:
            total = total.unsqueeze(-3).repeat(*[1] * (total.ndim - 2), sizes[-2], 1, 1)
        for name in self.stars[axis]:
            for place in self._places(name, axis, across):
                r = self._by_neuron(self.r[name][rows], name, place, unknown)
                x = self._by_neuron(self.x[name][rows], name, place, unknown)
                if across:
                    r, x = r.unsqueeze(-3), x.unsqueeze(-4)
                total += r @ x.mT
        return total

    def _places(self, name: str, axis: str, across: bool) -> list[tuple[int, ...]]:
        """Where a tensor has an axis: its dimension, after those of what it is nested in there.

        Entries of a parent are compared by what is nested in them, one axis for each tensor: the
        place of the parent itself is left out, and ``across`` parents, all but one of the nested.
        """
        axes = self.space.axes[name]
        above = slot_owners(self.space, axes)
        places = [i for i, a in enumerate(axes) if a == axis]
        if across:
            places = [i for i in places if above.index(above[i]) == i]
        elif self.children[axis]:
            places = [i for i in places if i not in above]
        return [(1 + i,) if (p := above[i]) is None else (1 + p, 1 + i) for i in places]

    def _by_neuron(
        self, x: Tensor, name: str, place: tuple[int, ...], unknown: Collection[str] | None
    ) -> Tensor:
        """``[m, *shape, 1] -> [m, n, k]``: the weights of each neuron, sorted over unknown axes.

        ``[m, p, n, k]`` of a nested axis.
        """
        axes = self.space.axes[name]
        others = [d for d in range(1, len(axes) + 1) if d not in place]
        here = axes[place[-1] - 1]
        sorted_over = [d for d in others if unknown is not None and axes[d - 1] in {*unknown, here}]
        known = [d for d in others if d not in sorted_over]
        kept = len(place) + 1 + len(known)
        x = x.permute(0, *place, *known, *sorted_over, -1).flatten(kept)
        if sorted_over:
            x = x.sort(dim=-1).values
        return x.flatten(len(place) + 1)

    def reorder(self, rows: Tensor, orders: Permutation) -> None:
        """Permute some axes of some networks further."""
        names = dict.fromkeys(name for axis in orders for name in self.stars[axis])
        for name in names:  # x is a view of flat_x
            self.x[name][rows] = move(self.space, orders, name, self.x[name][rows])
        every = {a: orders.get(a, self._unmoved(a, len(rows))) for a in self.g}
        further = compose(every, {a: g[rows] for a, g in self.g.items()}, self.space)
        for axis, g in further.items():
            self.g[axis][rows] = g

    def _unmoved(self, axis: str, m: int) -> Tensor:
        shape = order_shape(self.space, axis)
        return torch.arange(shape[-1], device=self.flat_x.device).expand(m, *shape).clone()

    def _quadratic(self, axis: str) -> set[str]:
        """The axis itself, if some tensor has it more than once."""
        return {a for t in self.stars[axis] for a in [axis] if self.space.axes[t].count(a) > 1}


def _left_out(space: WeightSpace, theta: Tensor) -> Tensor | None:
    """Positions of the flat vector that are not compared, None for none."""
    if not (names := {n for n in space.names if space.kinds.get(n) in NOT_COMPARED}):
        return None
    ones = {
        name: torch.full((1, *shape, 1), float(name in names))
        for name, shape in space.shapes.items()
    }
    return space.flatten(ones)[0].bool().to(theta.device)


def _assignment(score: Tensor) -> Tensor:
    """The order ``[..., n]`` that maximises ``sum_i score[..., i, order(i)]`` of each matrix."""
    from scipy.optimize import linear_sum_assignment  # here: dws can be imported with torch alone

    order = torch.empty(score.shape[:-1], dtype=torch.int64)
    matrices = score.flatten(0, -3).cpu().numpy()
    for row, one in zip(order.view(-1, order.shape[-1]).numpy(), matrices, strict=True):
        row[:] = linear_sum_assignment(one, maximize=True)[1]
    return order.to(score.device)
