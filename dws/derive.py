"""Derive the weight space of any module: its axes, which of them may be permuted, and why not.

The graph of the module is walked once (`dws.joining`); what follows turns the terms of each
parameter into tensors over named axes, finds which axes are nested in which, and checks the result
on the module itself (`dws.checking`).
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product as pairs
from math import prod
from typing import TYPE_CHECKING, Any

from torch import nn

import dws.layer_rules
import dws.shape_rules  # noqa: F401 (both register rules)
from dws.checking import check
from dws.joining import Use, Value, Walk
from dws.layout import Box
from dws.terms import Axis, Concatenation, Product, Term, axes, pieces, product, resolve
from dws.tracing import Trace, trace

if TYPE_CHECKING:
    from dws.space import WeightSpace

WALKS = 4
"""How often the graph is walked at most, until no further dimension is found to be looked up."""


def derive(module: nn.Module, inputs: tuple[Any, ...]) -> WeightSpace:
    """The space of a module, see :meth:`dws.WeightSpace.from_module`."""
    from dws.space import Origin, WeightSpace

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
    found = _Assembly(walk, shapes, set(traced.parameters.values()))
    template = copy.deepcopy(module).eval()
    space = WeightSpace(
        found.axes,
        found.sizes,
        found.hidden,
        found.parents,
        found.kinds,
        found.roles,
        found.layout,
        Origin(template, found.buffers, found.reasons),
    )
    check(space, module, inputs, found.operations)
    return space


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
        self.buffers = tuple(
            name
            for name, v in state.items()
            if name not in parameters
            and (name in walk.statistics or any(a.why is None and a.size > 1 for a in _all(v)))
        )
        kept = [n for n in state if n in parameters or n in self.buffers]
        self.pieces = list(self._pieces({n: state[n] for n in kept}, shapes))
        self._merge_fixed()
        met = [terms for _, terms in walk.occurrences]
        nested = _nesting([*met, *(v.terms for v in state.values())])
        self._name_tensors(kept)
        self._name_axes()
        self.met = walk.occurrences
        self.parents = self._parents(nested)

    def _pieces(
        self, state: dict[str, Value], shapes: dict[str, tuple[int, ...]]
    ) -> Iterator[_Piece]:
        base = 0
        for name, v in state.items():
            roles = self.uses[name].roles if name in self.uses else {}
            strides = [prod(shapes[name][k + 1 :]) for k in range(len(shapes[name]))]
            dims = [_boxes(self._canonical(t), s) for t, s in zip(v.terms, strides, strict=True)]
            for combination in pairs(*dims):
                entries = [
                    (axis, stride, roles.get(k, "index"))
                    for k, (_, own) in enumerate(combination)
                    for axis, stride in own
                ]
                # an axis of a single entry says nothing, unless there is no other
                wide = [e for e in entries if e[0].size > 1] or entries[:1]
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
            same = next(
                (k for k, p in enumerate(parts) if _key(p) != _key(parts[0])), len(parts)
            )
            if same > 1:
                axis = self._copy(("copies", same, _key(parts[0])), same, "parts of one shape")
                runs.append(self._canonical(product([axis, parts[0]])))
            else:
                runs.append(parts[0])
            del parts[:same]
        return runs[0] if len(runs) == 1 else Concatenation(runs)

    def _runs(self, parts: list[Term], size: Any) -> list[Term]:
        """Neighbouring fixed axes joined into one."""
        found: list[Term] = []
        run: list[Axis] = []
        for part in [*parts, None]:
            flat = axes(part) if part is not None else []
            if part is not None and all(a.why is not None for a in flat) and flat:
                run.append(
                    flat[0]
                    if len(flat) == 1
                    else self._copy(("run", _key(part)), part.size, flat[0].why or "")
                )
                continue
            if run:
                key = (size.__name__, *(id(a) for a in run))
                total = size(a.size for a in run)
                why = run[0].why or ""
                found.append(run[0] if len(run) == 1 else self._copy(key, total, why))
                run = []
            if part is not None:
                found.append(part)
        return found

    def _copy(self, key: tuple[Any, ...], size: int, why: str) -> Axis:
        return self.copies.setdefault(key, Axis(size, why))

    def _merge_fixed(self) -> None:
        """Fixed index axes that follow each other in one tensor, and are in no other, are one."""
        where = Counter(id(a) for p in self.pieces for a in p.axes)
        for p in self.pieces:
            k = 0
            while k + 1 < len(p.axes):
                a, b = p.axes[k : k + 2]
                alone = all(x.why is not None and where[id(x)] == 1 for x in (a, b))
                index = p.roles[k] == p.roles[k + 1] == "index"
                if alone and index and p.strides[k] == p.strides[k + 1] * b.size:
                    merged = Axis(a.size * b.size, a.why, a.hint)
                    where[id(merged)] = 1
                    p.axes[k : k + 2], p.strides[k : k + 2] = [merged], [p.strides[k + 1]]
                    del p.roles[k]
                else:
                    k += 1

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
        self.layout = (
            {} if contiguous else {n: Box(p.offset, tuple(p.strides)) for n, p in boxes}
        )

    def _name_axes(self) -> None:
        owners: dict[int, str] = {}
        taken = _Names()
        # an axis is named after the layer that writes it, a fixed one also after what it is
        for wanted in ("writes", "reads", "index"):
            for p in self.pieces:
                layer = _identifier(p.parameter.rpartition(".")[0] or p.parameter)
                for axis, role in zip(p.axes, p.roles, strict=True):
                    if role == wanted and id(axis) not in owners:
                        free = axis.why is None and axis.size > 1
                        kind = axis.hint or ("" if free else _described(axis.why, role))
                        owners[id(axis)] = taken.new(f"{layer}_{kind}" if kind else layer)
        self.axis_names = owners
        self.axes = {
            name: tuple(owners[id(a)] for a in p.axes)
            for name, p in zip(self.names, self.pieces, strict=True)
        }
        found = {id(a): a for p in self.pieces for a in p.axes}
        self.by_name = {owners[key]: a for key, a in found.items()}
        self.sizes = {n: a.size for n, a in self.by_name.items()}
        self.hidden = tuple(n for n, a in self.by_name.items() if a.why is None and a.size > 1)
        self.reasons = {
            n: a.why or "it has a single entry"
            for n, a in self.by_name.items()
            if n not in self.hidden
        }

    def operations(self, axis: str) -> list[str]:
        """The operations that have an axis in what they take or give, in order."""
        own = self.by_name[axis]
        found = [why for why, terms in self.met if any(a is own for t in terms for a in axes(t))]
        return list(dict.fromkeys(found))

    def _parents(self, nested: dict[int, set[int]]) -> dict[str, str]:
        names = self.axis_names
        inside = {
            a: {names[p] for p in nested.get(key, ()) if p in names and self._always(a, names[p])}
            for key, a in names.items()
            if a in self.hidden
        }
        found: dict[str, str] = {}
        for axis, candidates in inside.items():
            # of two that always come together the outer one is the parent
            real = [p for p in candidates if axis not in inside.get(p, ()) or self._outer(p, axis)]
            roots = [p for p in real if not inside.get(p, set()) - {axis}]
            if roots:
                found[axis] = max(roots, key=lambda p: (p in self.hidden, self.sizes[p]))
        return {a: p for a, p in found.items() if p not in found}

    def _always(self, axis: str, parent: str) -> bool:
        """Whether the pairing that a space assumes is the one within each dimension."""
        for own in self.axes.values():
            if axis in own and own.count(parent) != 1:
                for k, a in enumerate(own):
                    if a == axis and (k == 0 or own[k - 1] != parent):
                        return False
        return True

    def _outer(self, parent: str, axis: str) -> bool:
        return any(
            axis in own and parent in own and own.index(parent) < own.index(axis)
            for own in self.axes.values()
        )


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


def _nesting(occurrences: Sequence[tuple[Term, ...]]) -> dict[int, set[int]]:
    """Axis -> the axes that are with it wherever it is, so that it may depend on them."""
    inside: dict[int, set[int]] = {}
    for terms in occurrences:
        dims = [[[id(a) for a in axes(p)] for p in pieces(t)] for t in terms]
        common = [set.intersection(*map(set, parts)) for parts in dims]
        having = Counter(a for parts in dims for a in {a for part in parts for a in part})
        for k, parts in enumerate(dims):
            others = {
                a for j, own in enumerate(common) if j != k for a in own if having[a] == 1
            }
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


def _described(why: str | None, role: str) -> str:
    if why in ("input", "output"):
        return {"input": "in", "output": "out"}[why]
    return {"writes": "out", "reads": "in", "index": "places"}[role]
