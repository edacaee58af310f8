r"""All linear equivariant maps between the features of a weight space, as data.

Write the hidden axes of a tensor as its *occurrences*: a recurrent matrix W (h, h) has two, both of
axis h. A linear map from tensor s to tensor t is equivariant if and only if its entry depends on
one thing only: which occurrences, of s and of t together, have equal indices. So there is one
*term* for each partition of the occurrences of every hidden axis in s and t together, times a dense
F(t) c_out x F(s) c_in matrix over the fixed axes and the channels:

    parts with occurrences of both s and t    the axes ``alpha``: the index is kept
    parts with occurrences of s alone         take the diagonal of them, then average over it
    parts with occurrences of t alone         write on the diagonal of them, the same all along it

    dimension = sum over (s, t) of F(s) F(t) * product over hidden axes of Bell(occurrences in s, t)

With one occurrence of each axis in a tensor, Bell(2) = 2 per shared axis: aligned, or averaged and
repeated. W (h, h) to itself has Bell(4) = 15. First layers, last layers and neighbours are no
special cases: they follow from the axes.

Read by alpha, every term is a :class:`Way` of its source to alpha and one of its target from alpha.
All ways of all tensors meet in one matrix per alpha: that is what the layers multiply. Where an
axis stands twice in alpha its places can be exchanged, which would count each term twice, so a
target takes alpha in one order only: for alpha = (h, h), W offers itself and its transpose to one.

An index of a nested axis (``space.parents``) means something within its parent's entry only: two
of its occurrences can be equal only where their parents are, and it is kept only where its parent
is. Each occurrence belongs to the nearest occurrence of the parent before it in the tensor, or else
to the first one after it.

The terms are linearly independent where every hidden axis is at least as long as it has occurrences
in s and t together. On a shorter axis some partitions coincide (of an axis of one neuron, to be
aligned and to be averaged are the same): the terms still span every equivariant map, and
:func:`dimension` counts more of them than are independent.

The features that come out may be of another space with the same axes: one value per network (no
hidden axis), one per neuron. Then s runs over the tensors of the one and t over those of the other.

Source: Navon et al. 2023, section 5 and appendix; Maron et al. 2019 for partitions and counting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from dws.space import WeightSpace

Alpha = tuple[str, ...]
Tie = tuple[int, ...]
"""Occurrences that share one index: positions in ``space.hidden_axes(tensor)``."""
Partition = tuple[Tie, ...]
"""Of the occurrences of a tensor; or of a source and then, counted on, of a target."""


class Way(NamedTuple):
    """One way to bring a tensor to alpha, or to spread what is on alpha over a tensor.

    Attributes:
        tensor: its name.
        kept: for each axis of alpha, the occurrences that carry its index.
        rest: the other ties, of which a source is averaged over all entries and along which a
            target is constant; in the order of averaging, nested axes before their parents.
    """

    tensor: str
    kept: tuple[Tie, ...]
    rest: tuple[Tie, ...]

    @property
    def ties(self) -> Partition:
        """The partition of the tensor's occurrences, in their order."""
        return tuple(sorted(self.kept + self.rest))

    @property
    def in_order(self) -> Way:
        """The same with the kept ties in the order of the tensor."""
        if len(self.kept) < 2:
            return self
        return Way(self.tensor, tuple(sorted(self.kept)), self.rest)

    @property
    def wider(self) -> Way:
        """Before its last tie was averaged, the kept ones in the order of the tensor."""
        return Way(self.tensor, tuple(sorted((*self.kept, self.rest[-1]))), self.rest[:-1])


@dataclass(frozen=True)
class Term:
    """One family of equivariant maps: source and target tensor, axes kept, and the way of each."""

    source: str
    target: str
    alpha: Alpha
    gather: Way
    spread: Way


@dataclass(frozen=True)
class Block:
    """All terms that keep ``alpha``: each of the ways of ``sources`` with each of ``targets``."""

    alpha: Alpha
    sources: tuple[Way, ...]
    targets: tuple[Way, ...]


def blocks(space: WeightSpace, target: WeightSpace | None = None) -> tuple[Block, ...]:
    """The basis by alpha, larger alphas first: 2M - 2 blocks for an MLP of M >= 2 layers.

    Args:
        space: of the features that come.
        target: of the features that go, on some of the same axes; the same space if not given.

    Raises:
        ValueError: an axis that the two spaces share in name only.
    """
    target = target or space
    for axis in space.sizes.keys() & target.sizes.keys():
        ours, theirs = (_described(s, axis) for s in (space, target))
        if ours != theirs and "hidden" in ours + theirs:
            raise ValueError(
                f"axis {axis}: {ours} in the source, {theirs} in the target; "
                "shared hidden axes must agree"
            )
    coming, going = Occurrences(space), Occurrences(target)
    alphas: dict[Shape, Alpha] = {}
    for name in space.names:
        for view in coming.views(name):
            alphas.setdefault(coming.shape(view), coming.alpha(view))
    found = []
    for shape, alpha in alphas.items():
        sources = tuple(w for n in space.names for w in coming.ways(n, shape, alpha))
        if targets := tuple(w for n in target.names for w in going.ways(n, shape, alpha, one=True)):
            found.append(Block(alpha, sources, targets))
    return tuple(sorted(found, key=lambda b: -len(b.alpha)))


def terms(space: WeightSpace, target: WeightSpace | None = None) -> tuple[Term, ...]:
    """Every term of the basis, block by block."""
    return tuple(
        Term(s.tensor, t.tensor, block.alpha, s, t)
        for block in blocks(space, target)
        for s in block.sources
        for t in block.targets
    )


def dimension(space: WeightSpace, target: WeightSpace | None = None) -> int:
    """Number of linear equivariant maps per pair of channels (2-32-32-1: 75; W, b of an RNN: 27).

    They are independent where every hidden axis is at least as long as it has occurrences in any
    source and target together; of a space with a shorter axis this is the number of terms' entries,
    and the number of independent maps is smaller.
    """
    to = target or space
    return sum(space.fixed_size(t.source) * to.fixed_size(t.target) for t in terms(space, to))


def invariant_dimension(space: WeightSpace) -> int:
    """Number of linear invariant maps per channel, and of biases (2-32-32-1: 7).

    One per tensor, partition of its occurrences and entry on fixed axes; fewer are independent
    where a hidden axis is shorter than it has occurrences in a tensor.
    """
    found = Occurrences(space)
    return sum(space.fixed_size(name) * len(found.partitions(name)) for name in space.names)


Shape = tuple[object, ...]
"""An alpha without its order: (axis, shape of what is nested in it), sorted."""


class Occurrences:
    """What can be tied, kept and averaged in the tensors of one space."""

    def __init__(self, space: WeightSpace) -> None:
        if fixed := {a: p for a, p in space.parents.items() if p not in space.hidden}:
            axis, parent = next(iter(fixed.items()))
            raise ValueError(
                f"axis {axis} is nested in {parent}, which is fixed: give each of the "
                f"{space.sizes[parent]} entries of {parent} tensors and an axis of their own"
            )
        self.space = space
        self.owners = {name: owners(space, name) for name in space.names}
        self._partitions = {name: self._partition(name) for name in space.names}
        self._views = {name: self._find_views(name) for name in space.names}
        self._by_shape = {name: _grouped(views, self.shape) for name, views in self._views.items()}

    def partitions(self, name: str) -> tuple[Partition, ...]:
        """Every manner to tie the occurrences of a tensor, the one that ties none first."""
        return self._partitions[name]

    def views(self, name: str) -> tuple[Way, ...]:
        """Every partition with every set of ties kept, in the tensor's order."""
        return self._views[name]

    def ways(self, name: str, shape: Shape, alpha: Alpha, one: bool = False) -> Iterator[Way]:
        """Every way of a tensor to an alpha of this shape; one per set of kept ties if ``one``."""
        axes = self.space.hidden_axes(name)
        above = slot_owners(self.space, alpha)
        for view in self._by_shape[name].get(shape, ()):
            for kept in self._labelled(name, view, alpha, above, axes):
                yield Way(name, kept, view.rest)
                if one:
                    break

    def shape(self, view: Way) -> Shape:
        """The axes that a view keeps, whatever their order."""
        return self._shape(view, None)

    def alpha(self, view: Way) -> Alpha:
        """The axes that a view keeps, each followed by those that are nested in it."""
        axes = self.space.hidden_axes(view.tensor)
        return tuple(axes[tie[0]] for tie in self._nested(view, None))

    def depth(self, name: str, occurrence: int) -> int:
        """How many axes the axis of an occurrence is nested in."""
        owner = self.owners[name][occurrence]
        return 0 if owner is None else 1 + self.depth(name, owner)

    def _owner(self, view: Way, tie: Tie) -> Tie | None:
        """The tie that holds the parents of a tie's occurrences."""
        owner = self.owners[view.tensor][tie[0]]
        return None if owner is None else next(t for t in view.ties if owner in t)

    def _nested(self, view: Way, within: Tie | None) -> Iterator[Tie]:
        for tie in view.kept:
            if self._owner(view, tie) == within:
                yield tie
                yield from self._nested(view, tie)

    def _shape(self, view: Way, within: Tie | None) -> Shape:
        axes = self.space.hidden_axes(view.tensor)
        below = [
            (axes[tie[0]], self._shape(view, tie))
            for tie in view.kept
            if self._owner(view, tie) == within
        ]
        return tuple(sorted(below, key=repr))

    def _partition(self, name: str) -> tuple[Partition, ...]:
        axes, above = self.space.hidden_axes(name), self.owners[name]
        found: list[list[list[int]]] = [[]]
        for i in sorted(range(len(axes)), key=lambda i: self.depth(name, i)):
            longer = []
            for ties in found:
                held = {o: k for k, tie in enumerate(ties) for o in tie}
                for k, tie in enumerate(ties):
                    within = {held[o] for o in (above[tie[0]], above[i]) if o is not None}
                    if axes[tie[0]] == axes[i] and len(within) < 2:
                        longer.append([*ties[:k], [*tie, i], *ties[k + 1 :]])
                longer.append([*ties, [i]])
            found = longer
        tied = (tuple(sorted(tuple(sorted(tie)) for tie in ties)) for ties in found)
        return tuple(sorted(tied, key=lambda ties: (-len(ties), ties)))

    def _find_views(self, name: str) -> tuple[Way, ...]:
        found = []
        for ties in self._partitions[name]:
            for k in range(len(ties), -1, -1):
                for kept in combinations(ties, k):
                    rest = [tie for tie in ties if tie not in kept]
                    rest.sort(key=lambda tie: (-self.depth(name, tie[0]), tie))
                    view = Way(name, kept, tuple(rest))
                    if all(self._owner(view, tie) in (None, *kept) for tie in kept):
                        found.append(view)
        return tuple(found)

    def _labelled(
        self,
        name: str,
        view: Way,
        alpha: Alpha,
        above: tuple[int | None, ...],
        axes: tuple[str, ...],
        chosen: tuple[Tie, ...] = (),
    ) -> Iterator[tuple[Tie, ...]]:
        """The orders of the kept ties in which they are the axes of alpha."""
        slot = len(chosen)
        if slot == len(alpha):
            yield chosen
            return
        owner = above[slot]
        for tie in view.kept:
            fits = axes[tie[0]] == alpha[slot] and tie not in chosen
            if fits and self._owner(view, tie) == (None if owner is None else chosen[owner]):
                yield from self._labelled(name, view, alpha, above, axes, (*chosen, tie))


def refines(finer: Partition, coarser: Partition) -> bool:
    """Whether every tie of one partition lies within a tie of the other."""
    return all(any({*tie} <= {*other} for other in coarser) for tie in finer)


def owners(space: WeightSpace, name: str) -> tuple[int | None, ...]:
    """For each occurrence in a tensor the occurrence of its parent axis, None where it has none."""
    return slot_owners(space, space.hidden_axes(name))


def slot_owners(space: WeightSpace, axes: Alpha) -> tuple[int | None, ...]:
    """The nearest parent before each axis; the first one after it where there is none before."""
    found: list[int | None] = []
    for i, axis in enumerate(axes):
        parent = space.parents.get(axis)
        before = [j for j in range(i) if axes[j] == parent]
        after = [j for j in range(i, len(axes)) if axes[j] == parent]
        found.append(before[-1] if before else after[0] if after else None)
    return tuple(found)


def _grouped(views: tuple[Way, ...], shape: object) -> dict[Shape, list[Way]]:
    found: dict[Shape, list[Way]] = {}
    for view in views:
        found.setdefault(shape(view), []).append(view)  # type: ignore[operator]
    return found


def _described(space: WeightSpace, axis: str) -> str:
    kind = "hidden" if axis in space.hidden else "fixed"
    nested = f" nested in {space.parents[axis]}" if axis in space.parents else ""
    return f"{kind} of size {space.sizes[axis]}{nested}"
