"""Rules of the operations that only reorder, cut, join or repeat entries."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from dws.joining import Dim, Family, Value, Walk, keep, rule, single, value
from dws.unification import Axis, Term, concatenation, factor, is_fixed, product, split


def _plain(x: Value) -> Value:
    """The value without families."""
    return keep(x, [replace(d, term=single(d.term)) for d in x.dims])


@rule(
    *("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout"),
    *("contiguous", "clone", "to", "_to_copy", "type_as", "detach", "alias", "lift_fresh_copy"),
    *("lift_fresh", "requires_grad", "positive", "conj", "resolve_conj", "hardswish"),
    *("log_sigmoid", "fill", "zero", "float", "double", "view_dtype", "bernoulli"),
)
def _same(walk: Walk, x: Value, *_: Any, **__: Any) -> Value:
    """The entries as they are, or each by itself."""
    return x


@rule("copy")
def _copy(walk: Walk, x: Value, source: Value, *_: Any) -> Value:
    for a, b in zip(reversed(x.terms), reversed(source.terms), strict=False):
        walk.join(a, b)
    return replace(x, constant=False)


@rule(
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as", "ravel")
)
def _reshape(walk: Walk, x: Value, *_: Any) -> Value:
    """Groups of dimensions with as many entries before as after are products of each other."""
    before, after = list(x.dims), list(walk.shape)
    if before and any(isinstance(d.term, Family) for d in before):
        before = list(_plain(x).dims)
    dims: list[Dim] = []
    while before or len(dims) < len(after):
        group = before[:1]
        if not before:  # ones at the end
            dims.append(Dim(Axis(1)))
            continue
        del before[0]
        sizes = after[len(dims) : len(dims) + 1]
        while prod(d.size for d in group) != prod(sizes) or not sizes:
            if sizes and prod(d.size for d in group) < prod(sizes):
                group.append(before.pop(0))
            elif len(dims) + len(sizes) < len(after):
                sizes.append(after[len(dims) + len(sizes)])
            else:  # ones at the end of what came
                group.append(before.pop(0))
                if not sizes:
                    break
        if len(group) == 1 and len(sizes) == 1:
            dims.append(group[0])
        elif sizes:
            dims += _regrouped(walk, [single(d.term) for d in group], sizes, len(dims))
    return keep(x, dims)


def _regrouped(walk: Walk, terms: list[Term], sizes: list[int], first: int) -> list[Dim]:
    """The product of terms as a product of other sizes, from dimension ``first`` on."""
    name = walk.node.name
    whole = product(terms)
    looked_up = [k for k in range(len(sizes)) if (name, first + k) in walk.indexed]
    if not looked_up or sizes[looked_up[0]] == 1:
        parts = factor(whole, sizes, walk.why)
        return [Dim(t, (name, first + k)) for k, t in enumerate(parts)]
    # one dimension is looked up entry by entry: what follows it is a family
    k = looked_up[0]
    inner = sizes[k + 1 :]
    *outer, last = factor(whole, [*sizes[:k], prod(sizes[k:])], walk.why)
    chunks = split(last, [prod(inner)] * sizes[k], walk.why)
    members = [factor(chunk, inner, walk.why) for chunk in chunks]
    index = walk.fixed(sizes[k])
    families = [Family(index, tuple(m[i] for m in members)) for i in range(len(inner))]
    made = [Dim(t, (name, first + i)) for i, t in enumerate(outer)]
    return [*made, Dim(index), *(Dim(f) for f in families)]


@rule("permute")
def _permute(walk: Walk, x: Value, order: list[int]) -> Value:
    return keep(x, [x.dims[k] for k in order])


@rule("transpose", "swapaxes", "swapdims")
def _transpose(walk: Walk, x: Value, a: int, b: int) -> Value:
    dims = list(x.dims)
    dims[a], dims[b] = dims[b], dims[a]
    return keep(x, dims)


@rule("t", "mT", "mH", "matrix_H", "adjoint", "numpy_T")
def _turned(walk: Walk, x: Value) -> Value:
    if len(x.dims) < 2:
        return x
    return keep(x, [*x.dims[:-2], x.dims[-1], x.dims[-2]])


@rule("movedim", "moveaxis")
def _movedim(walk: Walk, x: Value, source: Any, to: Any) -> Value:
    n = len(x.dims)
    source, to = ([a] if isinstance(a, int) else list(a) for a in (source, to))
    moved = {t % n: x.dims[s % n] for s, t in zip(source, to, strict=True)}
    rest = iter([d for k, d in enumerate(x.dims) if k not in [s % n for s in source]])
    return keep(x, [moved[k] if k in moved else next(rest) for k in range(n)])


@rule("squeeze")
def _squeeze(walk: Walk, x: Value, dim: Any = None) -> Value:
    n = len(x.dims)
    given = range(n) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = [k % n for k in given if x.dims[k % n].size == 1]
    return keep(x, [d for k, d in enumerate(x.dims) if k not in gone])


@rule("unsqueeze")
def _unsqueeze(walk: Walk, x: Value, dim: int) -> Value:
    dims = list(x.dims)
    dims.insert(dim % (len(dims) + 1), Dim(Axis(1)))
    return keep(x, dims)


@rule("expand", "broadcast_to", "expand_as")
def _expand(walk: Walk, x: Value, *_: Any, **__: Any) -> Value:
    """Copies along a dimension are equal: no permutation of them changes anything."""
    shape = walk.shape
    own = [None] * (len(shape) - len(x.dims)) + list(x.dims)
    return keep(
        x,
        [
            d if d is not None and d.size == n else Dim(Axis(n))
            for d, n in zip(own, shape, strict=True)
        ],
    )


@rule("repeat", "tile")
def _repeat(walk: Walk, x: Value, times: list[int]) -> Value:
    n = max(len(times), len(x.dims))
    counts = [1] * (n - len(times)) + list(times)
    terms = [Axis(1)] * (n - len(x.dims)) + list(x.terms)
    return value(t if c == 1 else product([Axis(c), t]) for c, t in zip(counts, terms, strict=True))


@rule("repeat_interleave")
def _repeat_interleave(walk: Walk, x: Value, times: Any, dim: Any = None, **_: Any) -> Value:
    if not isinstance(times, int) or dim is None:
        walk.fix(*x.terms)
        return value(walk.fixed(n) for n in walk.shape)
    dims = list(x.dims)
    dims[dim] = Dim(product([single(dims[dim].term), Axis(times)]))
    return keep(x, dims)


def _take(walk: Walk, x: Value, dim: int, sizes: list[int]) -> list[Value]:
    """The consecutive parts of a value along a dimension."""
    dim %= len(x.dims)
    own = x.dims[dim].term
    if _has_family(x, dim):
        return _members(walk, x, dim, sizes)
    parts = split(single(own), sizes, walk.why)
    return [
        keep(x, [*x.dims[:dim], replace(x.dims[dim], term=t, made=None), *x.dims[dim + 1 :]])
        for t in parts
    ]


def _members(walk: Walk, x: Value, dim: int, sizes: list[int]) -> list[Value]:
    found, start, index = [], 0, x.dims[dim].term
    for size in sizes:
        part = walk.fixed(size)
        dims = []
        for k, d in enumerate(x.dims):
            if isinstance(d.term, Family) and d.term.index is index:
                members = d.term.members[start : start + size]
                d = Dim(Family(part, members) if size > 1 else (*members, Axis(d.size))[0])
            dims.append(Dim(part) if k == dim else d)
        found.append(keep(x, dims))
        start += size
    return found


@rule("select")
def _select(walk: Walk, x: Value, dim: int, at: int) -> Value:
    n, dim = x.dims[dim].size, dim % len(x.dims)
    own = x.dims[dim].term
    if not isinstance(own, Family) and is_fixed(own) and not _has_family(x, dim):
        return keep(x, [d for k, d in enumerate(x.dims) if k != dim])
    walk.index(x.dims[dim])
    at %= n
    part = _take(walk, x, dim, [at, 1, n - at - 1])[1]
    walk.fix(single(part.dims[dim].term))
    return keep(part, [d for k, d in enumerate(part.dims) if k != dim])


def _has_family(x: Value, dim: int) -> bool:
    own = x.dims[dim].term
    return any(isinstance(d.term, Family) and d.term.index is own for d in x.dims)


@rule("unbind")
def _unbind(walk: Walk, x: Value, dim: int = 0) -> list[Value]:
    return [_select(walk, x, dim, k) for k in range(x.dims[dim].size)]


@rule("split", "split_with_sizes", "tensor_split", "chunk", "unsafe_chunk", "unsafe_split")
def _cut(walk: Walk, x: Value, sizes: Any, dim: int = 0) -> list[Value]:
    found = [int(t.shape[dim]) for t in walk.node.meta["val"]]
    if max(found) == 1:
        walk.index(x.dims[dim])
    return _take(walk, x, dim, found)


@rule("narrow")
def _narrow(walk: Walk, x: Value, dim: int, start: int, length: int) -> Value:
    return _slices(walk, x, dim, start, start + length)


@rule("slice")
def _slices(
    walk: Walk, x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Value:
    dim, n = dim % len(x.dims), x.dims[dim].size
    start, end, step = slice(start, end, step).indices(n)
    end = max(start, end)
    if (start, end, step) == (0, n, 1):
        return x
    if step == 1:
        return _take(walk, x, dim, [start, end - start, n - end])[1]
    own = single(x.dims[dim].term)
    if n % step == 0 and start < step and end > n - step + start:
        taken, index = factor(own, [n // step, step], walk.why)
        walk.fix(index)
    else:
        walk.fix(own)
        taken = walk.fixed(len(range(start, end, step)))
    return keep(x, [*x.dims[:dim], Dim(taken), *x.dims[dim + 1 :]])


@rule("cat", "concat", "concatenate")
def _cat(walk: Walk, parts: list[Value], dim: int = 0) -> Value:
    parts = [p for p in parts if len(p.dims) == len(walk.shape)]  # torch passes over empty vectors
    dim %= len(walk.shape)
    for part in parts:
        walk.use(part, "embedding")
    columns = [tuple(p.terms[k] for p in parts) for k in range(len(walk.shape))]
    return value(
        concatenation(terms) if k == dim else walk.join(*terms) for k, terms in enumerate(columns)
    )


@rule("stack")
def _stack(walk: Walk, parts: list[Value], dim: int = 0) -> Value:
    index = walk.fixed(len(parts))
    columns = [tuple(p.terms[k] for p in parts) for k in range(len(walk.shape) - 1)]
    dims = [Dim(Family(index, terms)) for terms in columns]
    dims.insert(dim % (len(dims) + 1), Dim(index))
    return Value(tuple(dims))


@rule("constant_pad_nd", "pad")
def _pad(walk: Walk, x: Value, widths: list[int], mode: Any = "constant", *_: Any) -> Value:
    dims = list(x.dims)
    for k in range(len(widths) // 2):
        before, after = widths[2 * k : 2 * k + 2]
        if before == after == 0:
            continue
        own = single(dims[-1 - k].term)
        if (isinstance(mode, str) and mode != "constant") or min(before, after) < 0:
            walk.fix(own)
            dims[-1 - k] = Dim(walk.fixed(walk.shape[-1 - k]))
        else:
            dims[-1 - k] = Dim(concatenation([Axis(before), own, Axis(after)]))
    return value(single(d.term) for d in dims)


@rule("pixel_shuffle")
def _pixel_shuffle(walk: Walk, x: Value, r: int) -> Value:
    *batch, channels, _, _ = x.terms
    kept, rows, columns = factor(channels, [channels.size // r**2, r, r], walk.why)
    walk.fix(rows, columns, *x.terms[-2:])
    return value([*batch, kept, *(walk.fixed(n) for n in walk.shape[-2:])])


@rule("pixel_unshuffle")
def _pixel_unshuffle(walk: Walk, x: Value, r: int) -> Value:
    *batch, channels, _, _ = x.terms
    walk.fix(*x.terms[-2:])
    mixed = product([channels, walk.fixed(r * r)])
    return value([*batch, mixed, *(walk.fixed(n) for n in walk.shape[-2:])])


@rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(walk: Walk, x: Value, groups: int) -> Value:
    outer, inner = factor(x.terms[1], [groups, x.terms[1].size // groups], walk.why)
    return value([x.terms[0], product([inner, outer]), *x.terms[2:]])


@rule("im2col")
def _im2col(walk: Walk, x: Value, kernel: list[int], *_: Any) -> Value:
    walk.fix(*x.terms[-2:])
    columns = product([x.terms[-3], walk.fixed(prod(kernel))])
    return value([*x.terms[:-3], columns, walk.fixed(walk.shape[-1])])


@rule("view_as_complex")
def _view_as_complex(walk: Walk, x: Value) -> Value:
    walk.fix(x.terms[-1])
    return value(x.terms[:-1])


@rule("view_as_real")
def _view_as_real(walk: Walk, x: Value) -> Value:
    return value([*x.terms, walk.fixed(2)])


@rule(
    *("zeros", "ones", "full", "empty", "zeros_like", "ones_like", "full_like", "empty_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor"),
)
def _constant(walk: Walk, *_: Any, **__: Any) -> Value:
    """All entries are one number: no permutation changes it."""
    return value((Axis(n) for n in walk.shape), constant=True)


@rule("eye")
def _eye(walk: Walk, *_: Any, **__: Any) -> Value:
    """The identity stays under one permutation of its rows and columns."""
    rows, columns = walk.shape
    axis = Axis(rows)
    return value([axis, axis] if rows == columns else [walk.fixed(rows), walk.fixed(columns)])
