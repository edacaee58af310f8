"""Rules of the operations of layers: entry by entry, contractions, norms, recurrence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dws.joining import Dim, Family, Value, Walk, keep, rule, tensors_of, value
from dws.unification import Axis, Term, concatenation, factor, product, resolve, split

# how a parameter that meets activations entry by entry enters
ADDED = ("add", "sub", "rsub", "__add__", "__sub__")
SCALED = ("mul", "div", "__mul__", "true_divide")


@rule("pointwise")
def _pointwise(walk: Walk, *args: Any, **kwargs: Any) -> Value:
    """Entries that meet are permuted alike; a dimension of one entry joins nothing."""
    tensors = tensors_of((args, kwargs))
    if len(tensors) == 1:
        return replace(tensors[0], constant=False)
    if any(x.parameter is None for x in tensors):
        name = walk.operation
        for x in tensors:
            vector = sum(d.size > 1 for d in x.dims) < 2
            if name in ADDED:
                walk.use(x, "bias" if vector else "embedding")
            elif name in SCALED:
                walk.use(x, "scale" if vector else "weight")
    terms: list[Term] = []
    for k in range(len(walk.shape)):
        terms.insert(0, walk.join(*(x.terms[-1 - k] for x in tensors if len(x.dims) > k)))
    return value(terms)


# --- contractions ---------------------------------------------------------------------------------


def contract(walk: Walk, operands: list[tuple[Value, str]], out: str) -> Value:
    """An einsum: a letter per dimension, dimensions of one letter are permuted alike.

    Letters that the result lacks are summed over.
    """
    terms: dict[str, list[Term]] = {}
    for x, letters in operands:
        for letter, term in zip(letters, x.terms, strict=True):
            terms.setdefault(letter, []).append(term)
    joined = {letter: walk.join(*found) for letter, found in terms.items()}
    wide = [{c for c, t in zip(s, x.terms, strict=True) if t.size > 1} for x, s in operands]
    for (x, letters), own in zip(operands, wide, strict=True):
        shared = {c for c in own if sum(c in other for other in wide) > 1}
        summed = own - set(out)
        if summed:
            walk.seen(*(joined[c] for c in letters if c not in summed))
            walk.seen(*(joined[c] for c in letters if c in summed | (shared & set(out))))
        walk.use(x, "weight", {k: "reads" for k, c in enumerate(letters) if c not in out})
    return value(joined[c] for c in out)


BATCH = "ABCDEFGHIJKLMNOP"


@rule("linear")
def _linear(walk: Walk, x: Value, w: Value, b: Value | None = None) -> Value:
    batch = BATCH[: len(x.dims) - 1]
    if len(w.dims) == 1:
        return contract(walk, [(x, batch + "i"), (w, "i")], batch)
    _bias(walk, b, w.terms[0])
    return contract(walk, [(x, batch + "i"), (w, "oi")], batch + "o")


def _hint(term: Term, name: str) -> None:
    term = resolve(term)
    if isinstance(term, Axis):
        term.hint = term.hint or name


def _bias(walk: Walk, b: Value | None, term: Term) -> None:
    if b is not None:
        walk.join(b.terms[-1], term)
        walk.use(b, "bias")


@rule("matmul", "bmm", "mm", "mv", "dot", "__matmul__", "vdot", "inner")
def _matmul(walk: Walk, x: Value, y: Value) -> Value:
    n = max(len(x.dims), len(y.dims)) - 2
    left = BATCH[:n][::-1][: max(len(x.dims) - 2, 0)][::-1] + ("ri" if len(x.dims) > 1 else "i")
    right = BATCH[:n][::-1][: max(len(y.dims) - 2, 0)][::-1] + ("ic" if len(y.dims) > 1 else "i")
    rows = "r" if len(x.dims) > 1 else ""
    return contract(
        walk, [(x, left), (y, right)], BATCH[: max(n, 0)] + rows + ("c" * ("c" in right))
    )


@rule("addmm", "baddbmm", "addmv")
def _addmm(walk: Walk, b: Value, x: Value, y: Value, **_: Any) -> Value:
    out = _matmul(walk, x, y)
    for a, c in zip(reversed(b.terms), reversed(out.terms), strict=False):
        walk.join(a, c)
    walk.use(b, "bias")
    return out


@rule("einsum")
def _einsum(walk: Walk, equation: str, operands: list[Value], **_: Any) -> Value:
    left, arrow, out = equation.replace(" ", "").partition("->")
    if not arrow:
        out = "".join(sorted(c for c in set(left) - {",", "."} if left.count(c) == 1))
        out = ("..." if "..." in left else "") + out
    pairs, longest = [], 0
    for x, letters in zip(operands, left.split(","), strict=True):
        n = len(x.dims) - len(letters.replace("...", ""))
        longest = max(longest, n)
        pairs.append((x, letters.replace("...", "".join(chr(0x100 + k) for k in range(n))[::-1])))
    dots = "".join(chr(0x100 + k) for k in range(longest))[::-1]
    return contract(walk, pairs, out.replace("...", dots))


@rule("outer", "ger")
def _outer(walk: Walk, x: Value, y: Value) -> Value:
    return contract(walk, [(x, "a"), (y, "b")], "ab")


@rule("bilinear")
def _bilinear(walk: Walk, x: Value, y: Value, w: Value, b: Value | None = None) -> Value:
    batch = BATCH[: len(x.dims) - 1]
    _bias(walk, b, w.terms[0])
    return contract(walk, [(x, batch + "i"), (y, batch + "j"), (w, "oij")], batch + "o")


@rule("scaled_dot_product_attention")
def _attention(
    walk: Walk,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Value:
    if enable_gqa and q.dims[-3].size != k.dims[-3].size:
        times = q.dims[-3].size // k.dims[-3].size
        k, v = (
            keep(x, [*x.dims[:-3], Dim(product([x.terms[-3], Axis(times)])), *x.dims[-2:]])
            for x in (k, v)
        )
    batch = BATCH[: len(q.dims) - 2]
    scores = contract(walk, [(q, batch + "ld"), (k, batch + "sd")], batch + "ls")
    if mask is not None:
        for a, b in zip(reversed(scores.terms), reversed(mask.terms), strict=False):
            walk.join(a, b)
    if is_causal:
        walk.fix(*scores.terms[-2:])
    walk.seen(*scores.terms[:-1])
    return contract(walk, [(scores, batch + "ls"), (v, batch + "sv")], batch + "lv")


@rule(*(f"{kind}{n}d" for kind in ("conv", "conv_transpose") for n in (1, 2, 3)))
def _convolution(walk: Walk, x: Value, w: Value, b: Value | None = None, *options: Any) -> Value:
    transposed = walk.why.startswith("conv_transpose")
    names = ["stride", "padding", *(["output_padding", "groups"] if transposed else ["dilation"])]
    given: dict[str, Any] = dict(
        zip([*names, "dilation" if transposed else "groups"], options, strict=False)
    )
    groups: int = given.get("groups", 1)
    spatial = len(w.dims) - 2
    *batch, channels = x.terms[: len(x.dims) - spatial]
    rows, columns = w.terms[:2]
    if groups > 1:
        group, channels_each = factor(channels, [groups, channels.size // groups], walk.why)
        group_too, rows_each = factor(rows, [groups, rows.size // groups], walk.why)
        group = walk.join(group, group_too)
        if channels_each.size > 1:
            _hint(group, "group")
        read, written = (rows_each, columns) if transposed else (columns, rows_each)
        walk.join(channels_each, read)
        walk.seen(group, read)
        walk.seen(group, written)
        out = product([group, written])
    else:
        read, out = (rows, columns) if transposed else (columns, rows)
        walk.join(channels, read)
        walk.seen(read)
        walk.seen(out)
    walk.seen(*batch)
    _bias(walk, b, out)
    taps = dict.fromkeys(range(2, len(w.dims)), "index")
    reads = "reads" if groups == 1 or read.size > 1 else "index"
    walk.use(w, "weight", {(0 if transposed else 1): reads, **taps})
    for term in w.terms[2:]:
        _hint(term, "taps")
    walk.fix(*w.terms[2:])
    sizes = walk.shape[-spatial:]
    alone = all(t.size == 1 for t in w.terms[2:]) and sizes == tuple(
        t.size for t in x.terms[-spatial:]
    )
    if not alone:
        walk.fix(*x.terms[-spatial:])
    places = x.terms[-spatial:] if alone else [walk.fixed(n) for n in sizes]
    return value([*batch, out, *places])


@rule("_weight_norm")
def _weight_norm(walk: Walk, v: Value, g: Value, dim: int = 0) -> Value:
    for a, b in zip(v.terms, g.terms, strict=True):
        walk.join(a, b)
    walk.use(g, "scale")
    walk.seen(v.terms[dim])
    return v


# --- norms and softmax ----------------------------------------------------------------------------


def _affine(walk: Walk, terms: list[Term], scale: Value | None, shift: Value | None) -> None:
    for x, kind in ((scale, "scale"), (shift, "shift")):
        if x is not None:
            for a, b in zip(terms, x.terms, strict=True):
                walk.join(a, b)
            walk.use(x, kind)


@rule("batch_norm", "instance_norm", "cudnn_batch_norm", "native_batch_norm")
def _batch_norm(
    walk: Walk,
    x: Value,
    scale: Value | None,
    shift: Value | None,
    mean: Value | None,
    variance: Value | None,
    training: bool,
    *_: Any,
) -> Value:
    channels = x.terms[1]
    _affine(walk, [channels], scale, shift)
    for statistic, kind in ((mean, "mean"), (variance, "variance")):
        if statistic is not None:
            walk.join(statistic.terms[0], channels)
            walk.use(statistic, kind)
            if statistic.parameter is not None:
                walk.statistics.add(statistic.parameter)
    if training or mean is None:
        walk.seen(channels)
    return value(x.terms)


@rule("layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(
    walk: Walk,
    x: Value,
    shape: list[int],
    scale: Value | None = None,
    shift: Value | None = None,
    *_: Any,
    **__: Any,
) -> Value:
    n = len(x.dims) - len(shape)
    _affine(walk, list(x.terms[n:]), scale, shift if isinstance(shift, Value) else None)
    walk.seen(*x.terms[:n])
    return value(x.terms)


@rule("group_norm")
def _group_norm(
    walk: Walk,
    x: Value,
    groups: int,
    scale: Value | None = None,
    shift: Value | None = None,
    *_: Any,
) -> Value:
    channels = x.terms[1]
    _affine(walk, [channels], scale, shift)
    outer, _inner = factor(channels, [groups, channels.size // groups], walk.why)
    _hint(outer, "group")
    walk.seen(x.terms[0], outer)
    return value(x.terms)


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(walk: Walk, x: Value, dim: int, *_: Any) -> Value:
    dim %= len(x.dims)
    walk.seen(*(t for k, t in enumerate(x.terms) if k != dim))
    return value(x.terms)


@rule("glu")
def _glu(walk: Walk, x: Value, dim: int = -1) -> Value:
    dim %= len(x.dims)
    n = x.dims[dim].size // 2
    first, second = split(x.terms[dim], [n, n], walk.why)
    walk.join(first, second)
    return value([*x.terms[:dim], first, *x.terms[dim + 1 :]])


@rule("prelu")
def _prelu(walk: Walk, x: Value, slope: Value) -> Value:
    walk.use(slope, "slope")
    if slope.dims[0].size > 1:
        walk.join(x.terms[min(1, len(x.dims) - 1)], slope.terms[0])
    return value(x.terms)


# --- recurrence -----------------------------------------------------------------------------------

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule(*GATES)
def _recurrent(
    walk: Walk,
    x: Value,
    state: Any,
    weights: list[Value],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> Any:
    """All layers of a recurrent network; gates are a fixed axis within a dimension."""
    gates = GATES[walk.operation]
    directions = 2 if bidirectional else 1
    per_cell = len(weights) // (layers * directions)
    projected = per_cell == (5 if biases else 3)
    states = tensors_of(state)
    given = [s for s, n in zip(states, _state_nodes(walk), strict=True) if not _untouched(s, n)]
    comes, rest = x.terms[-1], iter(weights)
    hidden: list[Term] = []
    cells: list[Term] = []
    for _ in range(layers):
        outputs: list[Term] = []
        for _ in range(directions):
            cell = [next(rest) for _ in range(per_cell)]
            gate, h = factor(cell[0].terms[0], [gates, cell[0].dims[0].size // gates], walk.why)
            walk.fix(gate)
            _hint(gate, "gates")
            for own in cell[: 4 if biases else 2]:
                walk.join(own.terms[0], product([gate, h]))
            out = cell[-1].terms[0] if projected else h
            walk.join(cell[0].terms[1], comes)
            walk.join(cell[1].terms[1], out)
            for w in cell[:2]:
                walk.use(w, "weight", {1: "reads"})
            for b in cell[2 : 4 if biases else 2]:
                walk.use(b, "bias")
            if projected:
                walk.join(cell[-1].terms[1], h)
                walk.use(cell[-1], "weight", {1: "reads"})
            for term in (h, out, comes):
                walk.seen(term)
            outputs.append(out)
            cells.append(h)
        hidden += outputs
        comes = concatenation(outputs)
    for k, s in enumerate(given):
        for term in hidden if k == 0 else cells:
            walk.join(s.terms[-1], term)
    batch = x.terms[:-1]
    sequence = value([*batch, comes])
    between = [batch[0] if batch_first else batch[-1]] if len(batch) == 2 else []
    count = walk.fixed(layers * directions)
    last = [
        Value((Dim(count), *(Dim(t) for t in between), Dim(_family(count, found))))
        for found in (hidden, cells)
    ]
    return [sequence, *last[: len(states)]]


def _family(index: Axis, members: list[Term]) -> Term | Family:
    return Family(index, tuple(members)) if len(members) > 1 else members[0]


def _state_nodes(walk: Walk) -> list[Any]:
    found = walk.node.args[1]
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _untouched(state: Value, node: Any) -> bool:
    """Whether an initial state is all of one number, and stays so."""
    return state.constant and len(node.users) == 1
