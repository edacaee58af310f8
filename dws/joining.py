"""Walk a traced graph and join the axes that its operations bring together.

Each operation has a rule (`dws.shape_rules`, `dws.layer_rules`): which dimensions it unifies and
what the dimensions of its result are. Elementwise operations are recognised by torch's own tags.
An operation without a rule fixes every axis that it touches. The walk is linear in the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, fx

from dws.tracing import Trace
from dws.unification import COPIES, Axis, Term, fix, is_fixed, unify

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)
RULES: dict[str, Rule] = {}
"""Name of an operation of torch -> its rule; it gets the walk and the operation's arguments."""


def rule(*names: str) -> Callable[[F], F]:
    """Register a rule for operations of these names; in-place variants are theirs too."""

    def register(function: F) -> F:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


@dataclass(frozen=True)
class Family:
    """A dimension whose axis depends on the index along another one, as after a stack.

    Attributes:
        index: the term of that other dimension.
        members: one term per entry of it, all of one size.
    """

    index: Term
    members: tuple[Term, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.members[0].size


@dataclass(frozen=True)
class Dim:
    """A dimension of a value.

    Attributes:
        term: what its entries are.
        made: the reshape that made it, and as which of its dimensions.
        source: the dimension of the parameter that it is, where the value is a parameter.
    """

    term: Term | Family
    made: tuple[str, int] | None = None
    source: int | None = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.term.size


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Attributes:
        dims: its dimensions.
        parameter: the name of the parameter that it is, perhaps reordered.
        constant: whether all its entries are one number, so that no permutation changes it.
    """

    dims: tuple[Dim, ...]
    parameter: str | None = None
    constant: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of its dimensions; families made one."""
        return tuple(single(d.term) for d in self.dims)


def single(term: Term | Family) -> Term:
    """A family as one term: its members are permuted alike."""
    if isinstance(term, Family):
        for other in term.members[1:]:
            unify(term.members[0], other, "the parts of a stack")
        return term.members[0]
    return term


def value(terms: Iterable[Term], constant: bool = False) -> Value:
    """A value of these terms."""
    return Value(tuple(Dim(t) for t in terms), None, constant)


@dataclass(frozen=True)
class Use:
    """How an operation uses a parameter: its kind, and the role of each dimension."""

    parameter: str
    kind: str
    roles: dict[int, str]


class Walk:
    """One walk through the graph.

    Args:
        trace: of the module.
        shapes: dotted name of each parameter and buffer -> its shape.
        indexed: (reshape, dimension) that are known to be looked up entry by entry, so that each
            entry has axes of its own (as queries, keys and values made by one matrix).

    Attributes:
        state: parameter or buffer -> its value.
        uses: how parameters are used, in order.
        occurrences: operation, and terms that are in one tensor or in the part of it that an
            operation keeps apart: what an axis is nested in must be in all that have it.
        unknown: operations without a rule -> the module that has them.
        found: further pairs as ``indexed``.
    """

    def __init__(
        self,
        trace: Trace,
        shapes: dict[str, tuple[int, ...]],
        indexed: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self.indexed = indexed
        self.found: set[tuple[str, int]] = set()
        self.uses: list[Use] = []
        self.occurrences: list[tuple[str, tuple[Term, ...]]] = []
        self.unknown: dict[str, str] = {}
        self.statistics: set[str] = set()  # buffers that are a running mean or variance
        self.why = ""
        self.node: fx.Node
        self.state = {
            name: Value(tuple(Dim(Axis(n), None, k) for k, n in enumerate(shape)), name)
            for name, shape in shapes.items()
        }
        owners = {**trace.parameters, **trace.buffers}
        values: dict[fx.Node, Any] = {}
        for node in trace.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in owners:
                values[node] = self.state.get(owners[node.name]) or self._fixed(node, "a constant")
            else:
                inputs = node.name in trace.inputs
                values[node] = self._fixed(node, "input" if inputs else "a constant")
        for out in tensors_of(self.run(trace.graph, values)):
            for dim in out.dims:
                for term in dim.term.members if isinstance(dim.term, Family) else (dim.term,):
                    fix(term, "output")

    def run(self, graph: fx.Graph, values: dict[fx.Node, Any]) -> Any:
        """The values of the graph's outputs, from those of its placeholders."""
        for node in graph.nodes:
            if node.op == "output":
                return fx.map_arg(node.args[0], values.__getitem__)
            if node.op == "get_attr":
                found = node.meta.get("val")
                known = isinstance(found, Tensor)
                values[node] = self._fixed(node, "a constant") if known else _attribute(graph, node)
            elif node.op == "call_function":
                arguments = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                self.node, self.why = node, label(node)
                values[node] = self.call(node.target, *arguments)
        return None

    def call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of one operation."""
        if target is operator.getitem:
            return args[0][args[1]] if isinstance(args[0], (list, tuple)) else None
        if str(target) in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
            graph = next(a for a in args if isinstance(a, fx.GraphModule)).graph
            given = args[[isinstance(a, fx.GraphModule) for a in args].index(True) + 1 :]
            inner = [n for n in graph.nodes if n.op == "placeholder"]
            return self.run(graph, dict(zip(inner, given, strict=True)))
        outputs = _shapes(self.node)
        if not outputs:
            return None
        name = operation(target)
        found = RULES.get(name)
        if found is None and torch.Tag.pointwise in getattr(target, "tags", ()):
            found = RULES["pointwise"]
        if found is None:
            return self._unknown(name, args, kwargs, outputs)
        try:
            result = found(self, *args, **kwargs)
            fits = {tuple(d.size for d in one.dims) for one in tensors_of(result)} <= {*outputs}
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            fits = False  # arguments that the rule does not know
        if not fits:
            return self._unknown(name, args, kwargs, outputs)
        for one in tensors_of(result):
            self.seen(*(d.term for d in one.dims if not isinstance(d.term, Family)))
        return result

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the operation's first result."""
        return _shapes(self.node)[0]

    @property
    def operation(self) -> str:
        """The operation's name."""
        return operation(self.node.target)

    @property
    def argument_names(self) -> list[str]:
        """Names of the operation's arguments after the first."""
        target: Any = self.node.target
        return [a.name for a in target._schema.arguments[1:]]

    # --- what rules do ---------------------------------------------------------------------------

    def join(self, *terms: Term) -> Term:
        """Let terms be permuted alike; those of a single entry join nothing."""
        wide = [t for t in terms if t.size > 1] or list(terms)
        for other in wide[1:]:
            if other.size == wide[0].size:
                unify(wide[0], other, self.why)
            else:
                self.fix(*wide)
        return wide[0]

    def fix(self, *terms: Term) -> None:
        """Let no axis of these terms be permuted, because of this operation."""
        for term in terms:
            fix(term, self.why)

    def fixed(self, size: int, hint: str | None = None) -> Axis:
        """A new axis that is not permutable: positions along it matter."""
        return Axis(size, self.why, hint)

    def seen(self, *terms: Term) -> None:
        """These terms are together in a tensor, or in what an operation keeps apart of it."""
        self.occurrences.append((self.why, terms))

    def use(self, x: Value | None, kind: str, roles: dict[int, str] | None = None) -> None:
        """Note the kind of a parameter, and the roles of its dimensions.

        By default they write; a dimension of one entry that is broadcast is an index.
        """
        if x is not None and x.parameter is not None:
            found = {
                d.source: (roles or {}).get(
                    k, "writes" if kind == "weight" or d.size > 1 else "index"
                )
                for k, d in enumerate(x.dims)
                if d.source is not None
            }
            self.uses.append(Use(x.parameter, kind, found))

    def index(self, dim: Dim) -> None:
        """A dimension is looked up entry by entry: remember the reshape that made it."""
        own = dim.term
        if dim.made is None or isinstance(own, Family) or is_fixed(own) or own.size > COPIES:
            return
        self.found.add(dim.made)

    def _fixed(self, node: fx.Node, why: str) -> Any:
        found = node.meta.get("val")
        if not isinstance(found, Tensor):
            return found
        return value(Axis(n, why) for n in found.shape)

    def _unknown(self, name: str, args: Any, kwargs: Any, outputs: list[tuple[int, ...]]) -> Any:
        touched = [t for v in tensors_of((args, kwargs)) for t in v.terms]
        if not all(is_fixed(t) for t in touched):
            self.unknown.setdefault(name, self.why)
        for term in touched:
            fix(term, f"unknown operation {self.why}")
        made = [value(self.fixed(n) for n in shape) for shape in outputs]
        return made if isinstance(self.node.meta["val"], (list, tuple)) else made[0]


def operation(target: Any) -> str:
    """The name of an operation without its overload and the mark of in-place variants."""
    name = target._schema.name if hasattr(target, "_schema") else getattr(target, "__name__", "")
    name = str(name or target).split("::")[-1]
    return name if name.startswith("__") else name.rstrip("_") or name


def label(node: fx.Node) -> str:
    """An operation and the module that has it, for messages."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((p for p, _ in reversed(list(stack.values())) if p), "")
    return operation(node.target) + (f" in {path}" if path else "")


def _attribute(graph: fx.Graph, node: fx.Node) -> Any:
    found: Any = graph.owning_module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    if isinstance(found, Tensor):
        return value(Axis(n, "a constant") for n in found.shape)
    return found


def _shapes(node: fx.Node) -> list[tuple[int, ...]]:
    found = node.meta.get("val")
    many = found if isinstance(found, (list, tuple)) else [found]
    return [tuple(int(n) for n in t.shape) for t in many if isinstance(t, Tensor)]


def tensors_of(tree: Any) -> list[Value]:
    """The values in nested lists, tuples and dicts."""
    if isinstance(tree, Value):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [v for t in tree for v in tensors_of(t)] if isinstance(tree, (list, tuple)) else []


def keep(x: Value, dims: Sequence[Dim]) -> Value:
    """A value of the same entries, with its dimensions in another order or cut."""
    return replace(x, dims=tuple(dims))
