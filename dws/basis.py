r"""All linear equivariant maps between the features of a weight space, as data.

Write H(t) for the hidden axes of tensor t and F(t) for the product of its fixed sizes. A linear map
between features is equivariant if and only if it is a sum of *terms*, one for each source tensor s,
target tensor t and subset alpha of the hidden axes that both have:

    average the source over H(s) \ alpha,  keep alpha aligned,
    apply a dense F(t) c_out x F(s) c_in matrix,  broadcast over H(t) \ alpha.

For hidden axes of two neurons or more the terms are linearly independent, so there are

    sum over (s, t) of 2^|H(s) & H(t)| F(s) F(t)

maps per pair of channels. (Of an axis of one neuron, to be aligned and to be averaged are the same:
its terms are counted twice.) First layers, last layers and neighbours are no special cases: they
follow from the axes. Read by alpha instead, the tensors that have alpha are the sources *and* the
targets of all its terms, so their matrices are the blocks of one: that is what the layers multiply.

The features that come out may live on another space with the same axes: one value per network (no
hidden axis), one per neuron. Then s runs over the tensors of the one and t over those of the other.

Source: Navon et al. 2023, section 5 and appendix; Maron et al. 2019 for the counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from dws.space import WeightSpace

Alpha = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """One family of equivariant maps: source tensor, target tensor, axes kept aligned."""

    source: str
    target: str
    alpha: Alpha


@dataclass(frozen=True)
class Block:
    """All terms that keep ``alpha`` aligned: each of ``sources`` to each of ``targets``."""

    alpha: Alpha
    sources: tuple[str, ...]
    targets: tuple[str, ...]


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
        ours, theirs = ((s.sizes[axis], axis in s.hidden) for s in (space, target))
        if ours != theirs and (ours[1] or theirs[1]):
            raise ValueError(
                f"axis {axis}: {_told(*ours)} in the source, {_told(*theirs)} in the target; "
                "shared hidden axes must agree"
            )
    alphas: dict[frozenset[str], Alpha] = {}
    for name in space.names:
        for alpha in _subsets(space.hidden_axes(name)):
            alphas.setdefault(frozenset(alpha), alpha)
    found = (
        Block(alpha, _having(space, alpha), _having(target, alpha)) for alpha in alphas.values()
    )
    return tuple(sorted((b for b in found if b.targets), key=lambda b: -len(b.alpha)))


def terms(space: WeightSpace, target: WeightSpace | None = None) -> tuple[Term, ...]:
    """Every (source, target, alpha) of the basis, block by block."""
    return tuple(
        Term(s, t, block.alpha)
        for block in blocks(space, target)
        for s in block.sources
        for t in block.targets
    )


def dimension(space: WeightSpace, target: WeightSpace | None = None) -> int:
    """Number of independent linear equivariant maps per pair of channels (2-32-32-1: 75).

    Of a space with a hidden axis of a single neuron it is more: the number of terms' entries.
    """
    to = target or space
    return sum(space.fixed_size(t.source) * to.fixed_size(t.target) for t in terms(space, to))


def invariant_dimension(space: WeightSpace) -> int:
    """Number of independent linear invariant maps per channel, and of biases (2-32-32-1: 7)."""
    return sum(space.fixed_size(name) for name in space.names)


def _subsets(axes: tuple[str, ...]) -> list[Alpha]:
    return [c for k in range(len(axes), -1, -1) for c in combinations(axes, k)]


def _having(space: WeightSpace, alpha: Alpha) -> tuple[str, ...]:
    return tuple(n for n in space.names if set(alpha) <= set(space.hidden_axes(n)))


def _told(size: int, hidden: bool) -> str:
    return f"{'hidden' if hidden else 'fixed'} of size {size}"
