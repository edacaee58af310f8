"""Dimensions of tensors as terms over axes, and their unification.

A dimension starts as an axis of its own. It may turn out to be a *product* of dimensions
(row-major, as after a reshape) or a *concatenation* (after a split); two dimensions that an
operation brings together are unified, as types are in type inference. A permutable axis stands for
all permutations of its entries. What cannot be written as such a term is fixed: fewer symmetries,
never wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

COPIES = 64
"""Longest fixed axis that is read as a concatenation of its entries where nothing else fits."""


class Axis:
    """A set of entries; what it is bound to, once that is known.

    Attributes:
        size: number of entries.
        why: None while it may be permuted, else why it may not.
        bound: the term that it was found to be.
        hint: a name that describes it.
    """

    def __init__(self, size: int, why: str | None = None, hint: str | None = None) -> None:
        self.size, self.why, self.hint = size, why, hint
        self.bound: Term | None = None


class Product:
    """The pairs of the entries of its parts, the last varying fastest."""

    def __init__(self, parts: Sequence[Term]) -> None:
        self.parts = tuple(parts)
        self.size: int = prod(p.size for p in self.parts)


class Concatenation:
    """The entries of its parts, one part after the other."""

    def __init__(self, parts: Sequence[Term]) -> None:
        self.parts = tuple(parts)
        self.size: int = sum(p.size for p in self.parts)


Term = Axis | Product | Concatenation


def resolve(term: Term) -> Term:
    """What an axis is bound to at the end, or the term itself."""
    last = term
    while isinstance(last, Axis) and last.bound is not None:
        last = last.bound
    while isinstance(term, Axis) and term is not last and term.bound is not None:
        term.bound, term = last, term.bound
    return last


def factors(term: Term) -> list[Term]:
    """The parts that a term is the product of, without those of a single entry."""
    term = resolve(term)
    if isinstance(term, Product):
        return [f for part in term.parts for f in factors(part)]
    return [term] if term.size != 1 else []


def pieces(term: Term) -> list[Term]:
    """The parts that a term is the concatenation of."""
    term = resolve(term)
    if isinstance(term, Concatenation):
        return [p for part in term.parts for p in pieces(part)]
    own = factors(term)
    if len(own) > 1 and isinstance(own[0], Concatenation):
        return [p for part in pieces(own[0]) for p in pieces(product([part, *own[1:]]))]
    return [term]


def product(parts: Iterable[Term]) -> Term:
    """The product of terms."""
    own = [f for part in parts for f in factors(part)]
    return own[0] if len(own) == 1 else Product(own) if own else Axis(1)


def concatenation(parts: Iterable[Term]) -> Term:
    """The concatenation of terms."""
    own = [p for part in parts if part.size for p in pieces(part)]
    return own[0] if len(own) == 1 else Concatenation(own)


def axes(term: Term) -> list[Axis]:
    """The axes that a term consists of, in order."""
    term = resolve(term)
    return [term] if isinstance(term, Axis) else [a for part in term.parts for a in axes(part)]


def fix(term: Term, why: str) -> None:
    """Let no axis of a term be permuted."""
    for axis in axes(term):
        axis.why = axis.why or why


def is_fixed(term: Term) -> bool:
    """Whether none of its axes may be permuted."""
    return all(axis.why is not None or axis.size == 1 for axis in axes(term))


def unify(a: Term, b: Term, why: str) -> None:
    """Let two terms of one size be permuted alike.

    Args:
        a: a term.
        b: another of the same size.
        why: the operation that joins them, in case that they cannot be.
    """
    a, b = resolve(a), resolve(b)
    if a is b:
        return
    if isinstance(a, Axis) and isinstance(b, Axis):
        b.why, b.hint = b.why or a.why, b.hint or a.hint
        a.bound = b
    elif isinstance(a, Axis) or isinstance(b, Axis):
        axis, term = (a, b) if isinstance(a, Axis) else (b, a)
        assert isinstance(axis, Axis)
        if axis.why is not None:
            fix(term, axis.why)
        axis.bound = term
    elif isinstance(a, Product) and isinstance(b, Product):
        _unify_factors(factors(a), factors(b), why)
    else:
        _unify_pieces(a, b, why)


def _unify_factors(a: list[Term], b: list[Term], why: str) -> None:
    while a and b:
        # what was unified before may have bound an axis that comes again
        (x, *a), (y, *b) = ([f for t in terms for f in factors(t)] for terms in (a, b))
        if x.size == y.size:
            unify(x, y, why)
            continue
        a, b = [x, *a], [y, *b]
        if x.size < y.size:
            a, b, x, y = b, a, y, x
        split = _halves(x, y.size)
        if split is None:
            for term in (*a, *b):
                fix(term, why)
            return
        a = [*split, *a[1:]]


def _unify_pieces(a: Term, b: Term, why: str) -> None:
    if isinstance(a, Product):
        a, b = b, a
    sizes = [p.size for p in pieces(a)]
    if isinstance(b, Product):
        outer, *rest = factors(b)
        inner = prod(f.size for f in rest)
        if all(size % inner == 0 for size in sizes):
            parts = split(outer, [size // inner for size in sizes], why)
            b = Concatenation([product([part, *rest]) for part in parts])
        elif outer.size <= COPIES:
            fix(outer, why)
            b = Concatenation([product(rest)] * outer.size)
        else:
            fix(a, why)
            fix(b, why)
            return
    ours, theirs = pieces(a), pieces(b)
    while ours and theirs:
        x, y = ours[0], theirs[0]
        if x.size == y.size:
            unify(x, y, why)
            ours, theirs = ours[1:], theirs[1:]
        elif x.size > y.size:
            ours = [*split(x, [y.size, x.size - y.size], why), *ours[1:]]
        else:
            theirs = [*split(y, [x.size, y.size - x.size], why), *theirs[1:]]


def split(term: Term, sizes: Sequence[int], why: str) -> list[Term]:
    """Cut a term into consecutive pieces: it is their concatenation from now on."""
    rest, found = pieces(term), list[Term]()
    for size in sizes:
        taken: list[Term] = []
        missing = size
        while missing:
            first = rest.pop(0)
            if first.size > missing:
                first, second = _cut(first, missing, why)
                rest.insert(0, second)
            taken.append(first)
            missing -= first.size
        found.append(concatenation(taken) if taken else Axis(0, why))
    return found


def _cut(piece: Term, size: int, why: str) -> tuple[Term, Term]:
    """One piece as two, the first of the given size."""
    piece = resolve(piece)
    rest = piece.size - size
    if isinstance(piece, Axis):
        head, tail = Axis(size, piece.why, piece.hint), Axis(rest, piece.why, piece.hint)
        piece.bound = Concatenation([head, tail])
        return head, tail
    outer, *others = factors(piece)
    inner = prod(f.size for f in others)
    if size % inner == 0:
        first, second = split(outer, [size // inner, rest // inner], why)
        return product([first, *others]), product([second, *others])
    fix(piece, why)
    return Axis(size, why), Axis(rest, why)


def factor(term: Term, sizes: Sequence[int], why: str) -> list[Term]:
    """Write a term as a product of the given sizes: it is their product from now on."""
    rest, found = factors(term), list[Term]()
    for size in sizes:
        taken: list[Term] = []
        missing = size
        while missing > 1:
            first, *others = rest
            if missing % first.size:
                halves = _halves(first, missing) if first.size % missing == 0 else None
                if halves is None:
                    fix(term, why)
                    return [Axis(n, why) for n in sizes]
                first, others = halves[0], [halves[1], *others]
            taken.append(first)
            missing //= first.size
            rest = others
        found.append(product(taken))
    return found


def _halves(term: Term, outer: int) -> tuple[Term, Term] | None:
    """One factor as a product of two, the first of the given size; None if that is impossible."""
    term = resolve(term)
    if term.size % outer:
        return None
    inner = term.size // outer
    if isinstance(term, Axis):
        head, tail = Axis(outer, term.why, term.hint), Axis(inner, term.why, term.hint)
        term.bound = Product([head, tail])
        return head, tail
    if isinstance(term, Product):
        own = factors(term)
        done = 1
        for k, f in enumerate(own):
            if done == outer:
                return product(own[:k]), product(own[k:])
            if outer % (done * f.size):
                halves = _halves(f, outer // done) if outer % done == 0 else None
                if halves is None:
                    return None
                return product([*own[:k], halves[0]]), product([halves[1], *own[k + 1 :]])
            done *= f.size
        return product(own), Axis(1)
    parts = pieces(term)
    if any(p.size % inner for p in parts):
        return None
    found: list[tuple[Term, Term]] = []
    for part in parts:
        halves = _halves(part, part.size // inner)
        if halves is None:
            return None
        found.append(halves)
    for _, second in found[1:]:
        unify(found[0][1], second, "the parts of a concatenation, reshaped")
    return concatenation([first for first, _ in found]), found[0][1]
