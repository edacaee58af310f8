r"""All linear equivariant maps between the features of a weight space, as data.

Write H(t) for the hidden axes of tensor t and F(t) for the product of its fixed sizes. A linear map
between features is equivariant if and only if it is a sum of *terms*, one for each source tensor s,
target tensor t and subset alpha of the hidden axes that both have:

    average the source over H(s) \ alpha,  keep alpha aligned,
    apply a dense F(t) c_out x F(s) c_in matrix,  broadcast over H(t) \ alpha.

The terms are linearly independent, so there are

    sum over (s, t) of 2^|H(s) & H(t)| F(s) F(t)

maps per pair of channels. First layers, last layers and neighbours are no special cases: they
follow from the axes. Read by alpha instead, the tensors that have alpha are the sources *and* the
targets of all its terms, so their matrices are the blocks of one: that is what the layers multiply.

Source: Navon et al. 2023, section 4 and appendix; Maron et al. 2019 for the counting.
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
    """All terms that keep ``alpha`` aligned: each of ``tensors`` to each of them."""

    alpha: Alpha
    tensors: tuple[str, ...]


def blocks(space: WeightSpace) -> tuple[Block, ...]:
    """The basis by alpha, larger alphas first: 2M - 2 blocks for an MLP of M >= 2 layers."""
    found: dict[frozenset[str], Alpha] = {}
    for name in space.names:
        hidden = space.hidden_axes(name)
        for k in range(len(hidden), -1, -1):
            for alpha in combinations(hidden, k):
                found.setdefault(frozenset(alpha), alpha)
    ordered = sorted(found.values(), key=lambda alpha: -len(alpha))
    return tuple(
        Block(alpha, tuple(n for n in space.names if set(alpha) <= set(space.hidden_axes(n))))
        for alpha in ordered
    )


def terms(space: WeightSpace) -> tuple[Term, ...]:
    """Every (source, target, alpha) of the basis, block by block."""
    return tuple(
        Term(source, target, block.alpha)
        for block in blocks(space)
        for source in block.tensors
        for target in block.tensors
    )


def dimension(space: WeightSpace) -> int:
    """Number of independent linear equivariant maps per pair of channels (2-32-32-1: 75)."""
    return sum(space.fixed_size(t.source) * space.fixed_size(t.target) for t in terms(space))


def invariant_dimension(space: WeightSpace) -> int:
    """Number of independent linear invariant maps per channel, and of biases (2-32-32-1: 7)."""
    return sum(space.fixed_size(name) for name in space.names)
