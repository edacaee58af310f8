"""Derive the weight space of any module: its axes, which of them may be permuted, and why not.

The graph of the module is walked once (`dws.joining`); what follows turns the terms of each
parameter into tensors over named axes, finds which axes are nested in which, and checks the result
on the module itself (`dws.checking`).
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from itertools import product as pairs
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

import dws.layer_rules
import dws.reduction_rules
import dws.shape_rules  # noqa: F401 (they register rules)
from dws.checking import check
from dws.joining import Use, Value, Walk
from dws.layout import Box
from dws.modules import read_axes
from dws.tracing import Trace, trace
from dws.unification import Axis, Concatenation, Product, Term, axes, pieces, product, resolve

if TYPE_CHECKING:
    from dws.space import Origin, WeightSpace

WALKS = 4
"""How often the graph is walked at most, until no further dimension is found to be looked up."""


def derive(module: nn.Module, inputs: tuple[Any, ...]) -> WeightSpace:
    """The space of a module, see :meth:`dws.WeightSpace.from_module`."""
    from dws.space import WeightSpace

    chain = _chain(module, inputs)
    if chain is not None:
        return chain
    traced = trace(module, inputs)
    shapes = _shapes(module, traced)
    walk = Walk(traced, shapes)
    for _ in range(WALKS):
        if not walk.found:
            break
        walk = Walk(traced, shapes, walk.indexed | walk.found)
    for name, where in walk.unknown.items():
        warnings.warn(
            f"from_module: {name!r} is an operation without a rule ({where}): the axes that it "
            "touches are fixed",
            stacklevel=3,
        )
    found = _Assembly(walk, shapes, {n for n, _ in module.named_parameters()})
    space = WeightSpace(
        found.axes,
        found.sizes,
        found.hidden,
        found.parents,
        found.kinds,
        found.roles,
        found.layout,
        _origin(module, inputs, found.buffers, found.reasons),
    )
    check(space, module, inputs, found.operations)
    return space


def _chain(module: nn.Module, inputs: tuple[Any, ...]) -> WeightSpace | None:
    """The space of an ``nn.Sequential`` that can be read without tracing, if that holds."""
    from dws.space import WeightSpace

    try:
        space = WeightSpace(*read_axes(module))
        check(space, module, inputs, lambda axis: ())
    except ValueError:
        return None
    if space.is_mlp:  # its fast path asks for the activation: the module's own is not used
        return space
    return replace(space, origin=_origin(module, inputs, (), {}))


def _origin(
    module: nn.Module,
    inputs: tuple[Any, ...],
    buffers: tuple[str, ...],
    reasons: dict[str, str],
) -> Origin:
    from dws.space import Origin

    template = copy.deepcopy(module).eval().requires_grad_(False)
    examples = tree_map(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, inputs)
    return Origin(template, examples, buffers, reasons)


def _shapes(module: nn.Module, traced: Trace) -> dict[str, tuple[int, ...]]:
    """The parameters, then the buffers that may matter, in their order."""
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    if not shapes:
        raise ValueError(f"{type(module).__name__} has no parameters")
    used = set(traced.buffers.values())
    for name, b in module.named_buffers():
        if name in used and b.is_floating_point() and b.ndim:
            shapes[name] = tuple(b.shape)
    return shapes


@dataclass
class _Piece:
    """A tensor of the space: part of a parameter, over axes with their strides."""

    parameter: str
    axes: list[Axis]
    strides: list[int]
    roles: list[str]
    offset: int


class _Assembly:
    """The tensors of a space from the terms of the parameters."""

    def __init__(
        self, walk: Walk, shapes: dict[str, tuple[int, ...]], parameters: set[str]
    ) -> None:
        self.uses = _merged(walk.uses)
        self.copies: dict[tuple[Any, ...], Axis] = {}
        state = {n: v for n, v in walk.state.items()}
        _fix_unused(walk, state)
        # a buffer without hidden axes is a constant, unless it is a statistic
        self.buffers = tuple(
            name
            for name, v in state.items()
            if name not in parameters and (name in walk.statistics or any(map(_is_free, _all(v))))
        )
        kept = [n for n in state if n in parameters or n in self.buffers]
        self.pieces = list(self._pieces({n: state[n] for n in kept}, shapes))
        self._merge_fixed()
        met = [terms for _, terms in walk.occurrences]
        self.met = walk.occurrences
        self._name_tensors(kept)
        self._name_axes(_nesting([*met, *(v.terms for v in state.values())]))

    def _pieces(
        self, state: dict[str, Value], shapes: dict[str, tuple[int, ...]]
    ) -> Iterator[_Piece]:
        base = 0
        for name, v in state.items():
            use = self.uses.get(name)
            roles = use.roles if use else {}
            strides = [prod(shapes[name][k + 1 :]) for k in range(len(shapes[name]))]
            dims = [_boxes(self._canonical(t), s) for t, s in zip(v.terms, strides, strict=True)]
            for combination in pairs(*dims):
                entries = [
                    (axis, stride, "index" if _is_index(axis, own, use) else roles.get(k, "index"))
                    for k, (_, own) in enumerate(combination)
                    for axis, stride in own
                ]
                # an index of a single entry says nothing, unless there is no other axis
                wide = [e for e in entries if e[0].size > 1 or e[2] != "index"] or entries[:1]
                wide = wide or [(Axis(1, "a single number"), 1, "index")]
                own_axes, own_strides, own_roles = map(list, zip(*wide, strict=True))
                offset = base + sum(at for at, _ in combination)
                yield _Piece(name, own_axes, own_strides, own_roles, offset)
            base += prod(shapes[name])

    def _canonical(self, term: Term) -> Term:
        """Neighbouring fixed parts as one fixed axis; equal neighbours as copies of one part."""
        term = resolve(term)
        if isinstance(term, Axis):
            return term
        if isinstance(term, Product):
            return product(self._runs([self._canonical(p) for p in term.parts], prod))
        runs: list[Term] = []
        parts = self._runs([self._canonical(p) for p in pieces(term)], sum)
        while parts:
            same = next((k for k, p in enumerate(parts) if _key(p) != _key(parts[0])), len(parts))
            if same > 1:
                axis = self._copy(("copies", same, _key(parts[0])), same, "parts of one shape")
                runs.append(self._canonical(product([axis, parts[0]])))
            else:
                runs.append(parts[0])
            del parts[:same]
        return runs[0] if len(runs) == 1 else Concatenation(runs)

    def _runs(self, parts: list[Term], size: Callable[[Iterable[int]], int]) -> list[Term]:
        """Neighbouring fixed parts joined into one axis."""
        found: list[Term] = []
        for free, group in groupby(parts, lambda t: any(map(_is_free, axes(t)))):
            run = list(group)
            flat = [a for t in run for a in axes(t)]
            if free or len(flat) == 1:
                found += run
            else:
                key = ("run", *(_key(t) for t in run))
                why = next((a.why for a in flat if a.why), "")
                found.append(self._copy(key, size(t.size for t in run), why))
        return found

    def _copy(self, key: tuple[Any, ...], size: int, why: str) -> Axis:
        return self.copies.setdefault(key, Axis(size, why))

    def _merge_fixed(self) -> None:
        """Two fixed index axes that always follow each other are one, as the taps of a kernel."""
        while True:
            where = Counter(a for p in self.pieces for a in p.axes)
            after = Counter(
                (p.axes[k], p.axes[k + 1])
                for p in self.pieces
                for k in range(len(p.axes) - 1)
                if p.roles[k] == p.roles[k + 1] == "index"
                and p.strides[k] == p.strides[k + 1] * p.axes[k + 1].size
            )
            pair = next(
                (
                    (a, b)
                    for (a, b), n in after.items()
                    if n == where[a] == where[b] and not _is_free(a) and not _is_free(b)
                ),
                None,
            )
            if pair is None:
                return
            merged = Axis(pair[0].size * pair[1].size, pair[0].why, pair[0].hint)
            for p in self.pieces:
                if pair[0] in p.axes:
                    k = p.axes.index(pair[0])
                    p.axes[k : k + 2], p.strides[k : k + 2] = [merged], [p.strides[k + 1]]
                    del p.roles[k]

    # --- names ------------------------------------------------------------------------------------

    def _name_tensors(self, kept: Sequence[str]) -> None:
        counts = Counter(p.parameter for p in self.pieces)
        names = _Names()
        self.names: list[str] = []
        seen: Counter[str] = Counter()
        for p in self.pieces:
            seen[p.parameter] += 1
            part = f"_{seen[p.parameter]}" if counts[p.parameter] > 1 else ""
            self.names.append(names.new(_identifier(p.parameter) + part))
        self.kinds = {
            n: self.uses[p.parameter].kind
            for n, p in zip(self.names, self.pieces, strict=True)
            if p.parameter in self.uses
        }
        known = zip(self.names, self.pieces, strict=True)
        self.roles = {n: tuple(p.roles) for n, p in known if n in self.kinds}
        contiguous, at = True, 0
        for p in self.pieces:
            shape = [a.size for a in p.axes]
            plain = [prod(shape[k + 1 :]) for k in range(len(shape))]
            contiguous &= p.offset == at and p.strides == plain
            at += prod(shape)
        boxes = zip(self.names, self.pieces, strict=True)
        self.layout = {} if contiguous else {n: Box(p.offset, tuple(p.strides)) for n, p in boxes}

    def _name_axes(self, nested: dict[Axis, set[Axis]]) -> None:
        self.parent_of = self._parents(nested)
        taken, names = _Names(), dict[Axis, str]()
        outer = set(self.parent_of.values())
        # after the layer that writes it, not after a norm; a fixed one also after what it is
        layers = [p for p in self.pieces if self._is_layer(p)]
        for wanted, where in (
            ("writes", layers),
            ("writes", self.pieces),
            ("reads", self.pieces),
            ("index", self.pieces),
        ):
            for p in where:
                layer = _identifier(p.parameter.rpartition(".")[0] or p.parameter)
                for axis, role in zip(p.axes, p.roles, strict=True):
                    if role == wanted and axis not in names:
                        kind = axis.hint or ("head" if axis in outer else _described(axis, role))
                        names[axis] = taken.new(f"{layer}_{kind}" if kind else layer)
        self.axes = {
            name: tuple(names[a] for a in p.axes)
            for name, p in zip(self.names, self.pieces, strict=True)
        }
        self.by_name = {names[a]: a for p in self.pieces for a in p.axes}
        self.sizes = {n: a.size for n, a in self.by_name.items()}
        self.hidden = tuple(n for n, a in self.by_name.items() if _is_free(a))
        self.parents = {names[a]: names[p] for a, p in self.parent_of.items()}
        self.reasons = {
            n: a.why or "it has a single entry"
            for n, a in self.by_name.items()
            if n not in self.hidden
        }

    def _is_layer(self, p: _Piece) -> bool:
        use = self.uses.get(p.parameter)
        table = use is not None and use.kind == "embedding" and p.parameter.endswith(".weight")
        return table or (use is not None and use.kind == "weight")

    def operations(self, axis: str) -> list[str]:
        """The operations that have an axis in what they take or give, in order."""
        own = self.by_name[axis]
        found = [why for why, terms in self.met if any(a is own for t in terms for a in axes(t))]
        return list(dict.fromkeys(found))

    def _parents(self, nested: dict[Axis, set[Axis]]) -> dict[Axis, Axis]:
        own = {a: k for k, a in enumerate(dict.fromkeys(a for p in self.pieces for a in p.axes))}
        inside = {
            a: {b for b in nested.get(a, ()) if b in own and self._paired(a, b)}
            for a in own
            if _is_free(a)
        }
        found: dict[Axis, Axis] = {}
        for axis, candidates in inside.items():
            # of two that always come together the outer one is the parent
            real = [b for b in candidates if axis not in inside.get(b, ()) or own[b] < own[axis]]
            roots = [b for b in real if not inside.get(b, set()) - {axis}]
            if roots:
                found[axis] = max(roots, key=lambda b: (_is_free(b), b.size, -own[b]))
        return {a: b for a, b in found.items() if b not in found}

    def _paired(self, axis: Axis, parent: Axis) -> bool:
        """Whether a tensor that has the parent twice has it right before the axis each time."""
        return all(
            p.axes.count(parent) == 1
            or all(k and p.axes[k - 1] is parent for k, a in enumerate(p.axes) if a is axis)
            for p in self.pieces
            if axis in p.axes
        )


def _is_free(axis: Axis) -> bool:
    return axis.why is None and axis.size > 1


def _is_index(axis: Axis, dimension: list[tuple[Axis, int]], use: Use | None) -> bool:
    """Whether a fixed axis only numbers blocks of neurons, as gates do, or rows of a table."""
    table = use is not None and use.kind == "embedding"
    return not _is_free(axis) and (table or any(_is_free(a) for a, _ in dimension))


def _all(v: Value) -> list[Axis]:
    return [a for t in v.terms for a in axes(t)]


def _fix_unused(walk: Walk, state: dict[str, Value]) -> None:
    used = {id(a) for _, terms in walk.occurrences for t in terms for a in axes(t)}
    for v in state.values():
        for a in _all(v):
            if id(a) not in used and a.why is None:
                a.why = "not used with these example inputs"


def _merged(uses: Sequence[Use]) -> dict[str, Use]:
    """The first use of each parameter, as a weight rather than as anything else."""
    found: dict[str, Use] = {}
    for use in uses:
        found.setdefault(use.parameter, use)
    return found


def _key(term: Term) -> Any:
    term = resolve(term)
    if isinstance(term, Axis):
        return id(term)
    return type(term).__name__, *(_key(p) for p in term.parts)


def _boxes(term: Term, stride: int) -> list[tuple[int, list[tuple[Axis, int]]]]:
    """The strided boxes that a term's entries are: offset, and (axis, stride) of each axis."""
    term = resolve(term)
    if isinstance(term, Axis):
        return [(0, [(term, stride)])]
    if isinstance(term, Concatenation):
        found, at = [], 0
        for part in term.parts:
            found += [(at * stride + o, own) for o, own in _boxes(part, stride)]
            at += part.size
        return found
    inner = [prod(p.size for p in term.parts[k + 1 :]) for k in range(len(term.parts))]
    parts = [_boxes(p, stride * n) for p, n in zip(term.parts, inner, strict=True)]
    return [
        (sum(o for o, _ in choice), [a for _, own in choice for a in own])
        for choice in pairs(*parts)
    ]


def _nesting(occurrences: Sequence[tuple[Term, ...]]) -> dict[Axis, set[Axis]]:
    """Axis -> the axes that are with it wherever it is, so that it may depend on them."""
    inside: dict[Axis, set[Axis]] = {}
    for terms in occurrences:
        dims = [[axes(p) for p in pieces(t)] for t in terms]
        common = [set.intersection(*map(set, parts)) for parts in dims]
        having = Counter(a for parts in dims for a in {a for part in parts for a in part})
        for k, parts in enumerate(dims):
            others = {a for j, own in enumerate(common) if j != k for a in own if having[a] == 1}
            for part in parts:
                own = Counter(part)
                single = {a for a, n in own.items() if n == 1}
                for a in own:
                    with_it = (single | others) - {a} if own[a] == 1 else set()
                    inside[a] = inside[a] & with_it if a in inside else with_it
    return inside


class _Names:
    """Names that are given once."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, name: str) -> str:
        k, found = 2, name
        while found in self.taken:
            found, k = f"{name}_{k}", k + 1
        self.taken.add(found)
        return found


def _identifier(dotted: str) -> str:
    name = "".join(c if c.isalnum() else "_" for c in dotted)
    return name if name.isidentifier() else f"layer_{name}"


def _described(axis: Axis, role: str) -> str:
    if _is_free(axis):
        return ""
    return {"writes": "out", "reads": "in", "index": "index"}[role]
