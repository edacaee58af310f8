"""Alignment: the order of the hidden neurons that brings networks closest to a reference.

Aligned networks are the same functions, and their weights can be compared or averaged entry by
entry: what a plain MLP on flat weights needs before it learns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from dws.group import Permutation, act
from dws.space import WeightSpace

CHUNK_ENTRIES = 1_000_000
"""Weights and scores of one axis, over the networks that are matched at a time: 8 MB of float64."""

SWEEPS = 100
"""Most passes over the axes; a descent stops by itself after a few."""

ROUNDING = 1e-12
"""Gain in ``<reference, weights>``, relative to the product of their norms, that counts as none."""


def match(space: WeightSpace, theta: Tensor, reference: Tensor) -> Permutation:
    """The orders of hidden neurons that bring each network closest to a reference.

    It seeks ``argmin_g |act(g, theta) - reference|`` (Euclidean). With all other axes held, the
    best order of one hidden axis is a linear assignment: ``argmax_g sum_i S[i, g(i)]``, where
    ``S[i, j]`` sums the products of the reference at neuron i and the weights at neuron j, over all
    tensors with that axis. Axis after axis is solved until none of them changes. Each network takes
    the better of two descents: one from the order that it has, and one from a first sweep in which
    tensors whose other axes are not matched yet are compared as sorted values. The second finds a
    planted permutation where neurons differ by more than noise.

    With one hidden axis this is the minimum. With more it is a minimum in every axis alone, not
    necessarily in all of them (that problem is NP-hard), and never farther than the order given.

    Args:
        space: of the weights; any space.
        theta: ``[m, size]``.
        reference: ``[size]`` for all networks, or ``[m, size]``, one each.

    Returns:
        One order ``[m, n]`` per hidden axis, so that ``act(space, match(...), space.split(theta))``
        is near the reference. No order depends on the other networks. Empty where the space has no
        hidden axis.

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
    widest = max((space.sizes[a] for a in space.hidden), default=0)
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
    return {a: torch.where(take_far.unsqueeze(1), far.g[a], near.g[a]) for a in space.hidden}


class _Search:
    """Networks ``x = act(g, theta)`` on their way to their references ``r``."""

    def __init__(self, space: WeightSpace, theta: Tensor, reference: Tensor) -> None:
        self.space = space
        # each hidden axis with the tensors that have it, their other axes held
        self.stars = {
            a: WeightSpace(
                {t: axes for t, axes in space.axes.items() if a in axes}, space.sizes, (a,)
            )
            for a in space.hidden
        }
        # ... and the other hidden axes that its best order depends on
        self.coupled = {
            a: {b for t in star.names for b in space.hidden_axes(t)} - {a}
            for a, star in self.stars.items()
        }
        # products of float32 are exact in float64
        self.flat_x = theta.detach().to(torch.float64, copy=True)
        self.flat_r = reference.detach().to(self.flat_x)
        self.x, self.r = space.split(self.flat_x), space.split(self.flat_r)
        self.rounding = ROUNDING * self.flat_x.norm(dim=1) * self.flat_r.norm(dim=1)
        self.all_rows = torch.arange(len(theta), device=theta.device)
        self.g = {
            a: torch.arange(space.sizes[a], device=theta.device).repeat(len(theta), 1)
            for a in space.hidden
        }

    def closeness(self) -> Tensor:
        """``<r, x>`` of each network, ``[m]``: the larger, the smaller the distance."""
        return (self.flat_r * self.flat_x).sum(1)

    def descend(self) -> None:
        """Solve axis after axis until no order of any network changes."""
        due = {a: torch.ones_like(self.all_rows, dtype=torch.bool) for a in self.space.hidden}
        for _ in range(SWEEPS):
            for axis in self.space.hidden:
                rows = self.all_rows[due[axis]]
                score = self.scores(axis, rows)
                order = _assignment(score)
                gain = score.gather(2, order.unsqueeze(2)).squeeze(2) - score.diagonal(0, 1, 2)
                better = gain.sum(1) > self.rounding[rows]
                self.reorder(axis, rows[better], order[better])
                due[axis][rows] = False
                for other in self.coupled[axis]:
                    due[other][rows[better]] = True
            if not any(rows.any() for rows in due.values()):
                return

    def first_sweep(self) -> None:
        """Solve every axis once, for better or worse, whatever the orders are.

        Where a tensor has other axes that are not solved yet, each neuron's weights are compared as
        sorted over them: their order cannot matter.
        """
        for k, axis in enumerate(self.space.hidden):
            score = self.scores(axis, self.all_rows, self.space.hidden[k + 1 :])
            self.reorder(axis, self.all_rows, _assignment(score))

    def scores(self, axis: str, rows: Tensor, unknown: Collection[str] = ()) -> Tensor:
        """``S[i, j]`` = <reference at neuron i, weights at neuron j>, ``[rows, n, n]``."""
        n = self.space.sizes[axis]
        total = self.flat_x.new_zeros(len(rows), n, n)
        for name, axes in self.stars[axis].axes.items():
            r = _by_neuron(self.r[name][rows], axes, axis, unknown)
            x = _by_neuron(self.x[name][rows], axes, axis, unknown)
            total += r @ x.mT
        return total

    def reorder(self, axis: str, rows: Tensor, order: Tensor) -> None:
        """Permute one axis of some networks further."""
        star = self.stars[axis]
        moved = act(star, {axis: order}, {name: self.x[name][rows] for name in star.names})
        for name, x in moved.items():
            self.x[name][rows] = x  # a view of flat_x
        self.g[axis][rows] = self.g[axis][rows].gather(1, order)


def _by_neuron(
    x: Tensor, axes: tuple[str, ...], axis: str, unknown: Collection[str] = ()
) -> Tensor:
    """``[m, *shape, 1]`` -> ``[m, n, k]``: the weights of each neuron, sorted over unknown axes."""
    sorted_over = [a for a in axes if a in unknown]
    known = [a for a in axes if a != axis and a not in unknown]
    dims = [1 + axes.index(a) for a in (axis, *known, *sorted_over)]
    x = x.permute(0, *dims, -1).flatten(2 + len(known))
    if sorted_over:
        x = x.sort(dim=-1).values
    return x.flatten(2)


def _assignment(score: Tensor) -> Tensor:
    """The order ``[m, n]`` that maximises ``sum_i score[i, order(i)]`` of each network."""
    from scipy.optimize import linear_sum_assignment  # here: dws can be imported with torch alone

    order = torch.empty(score.shape[:2], dtype=torch.int64)
    for row, one in zip(order.numpy(), score.cpu().numpy(), strict=True):
        row[:] = linear_sum_assignment(one, maximize=True)[1]
    return order.to(score.device)
