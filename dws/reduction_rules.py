"""Rules of the operations that reduce or order dimensions, pool them, or look entries up."""

from __future__ import annotations

import operator
from typing import Any

from dws.joining import RULES, Value, Walk, rule, value
from dws.unification import Axis


@rule(
    *("mean", "sum", "amax", "amin", "max", "min", "var", "std", "prod", "logsumexp", "any"),
    *("all", "linalg_vector_norm", "norm", "nanmean", "nansum", "count_nonzero", "var_mean"),
    *("std_mean", "median"),
)
def _reduce(walk: Walk, x: Value, *args: Any, **kwargs: Any) -> Any:
    """The entries along some dimensions in no order."""
    if any(isinstance(a, Value) for a in args):
        return RULES["pointwise"](walk, x, *args)  # the larger of two
    bound = dict(zip(walk.argument_names, args, strict=False))
    dim = {**bound, **kwargs}.get("dim")
    n = len(x.dims)
    over = {d % n for d in ([dim] if isinstance(dim, int) else dim or range(n))}
    name = walk.operation
    if name in ("max", "min", "median") and any(
        u.args[1] == 1 and u.users for u in walk.node.users if u.target is operator.getitem
    ):
        walk.fix(*(x.terms[k] for k in over))  # which entry it is depends on their order
    walk.seen(*(t for k, t in enumerate(x.terms) if k not in over))
    kept = (
        [Axis(1) if k in over else t for k, t in enumerate(x.terms)]
        if len(walk.shape) == n
        else [t for k, t in enumerate(x.terms) if k not in over]
    )
    found = walk.node.meta["val"]
    return [value(kept)] * len(found) if isinstance(found, (list, tuple)) else value(kept)


@rule(
    *("cumsum", "cumprod", "flip", "roll", "sort", "argsort", "topk", "argmax", "argmin", "cummax"),
    *("logcumsumexp", "cummin", "rot90", "fliplr", "flipud", "diff", "unfold", "kthvalue"),
)
def _ordered(walk: Walk, x: Value, *args: Any, **kwargs: Any) -> Any:
    """Entries whose order along a dimension matters."""
    names = walk.argument_names
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    dims = given.get("dims", given.get("dim", given.get("dimension")))
    if dims is None and walk.operation in ("sort", "argsort", "topk"):
        dims = -1
    n = len(x.dims)
    over = {d % n for d in ([dims] if isinstance(dims, int) else dims or range(n))}
    walk.fix(*(x.terms[k] for k in over))
    walk.seen(*(t for k, t in enumerate(x.terms) if k not in over))

    def result(shape: tuple[int, ...]) -> Value:
        if len(shape) != n:
            rest = [t for k, t in enumerate(x.terms) if k not in over]
            more = [walk.fixed(s) for s in shape[len(rest) :]]
            return value([*rest, *more] if len(rest) <= len(shape) else map(walk.fixed, shape))
        return value(walk.fixed(s) if k in over else x.terms[k] for k, s in enumerate(shape))

    found = walk.node.meta["val"]
    if isinstance(found, (list, tuple)):
        return [result(tuple(t.shape)) for t in found]
    return result(walk.shape)


@rule("tril", "triu")
def _triangle(walk: Walk, x: Value, *_: Any) -> Value:
    walk.fix(*x.terms[-2:])
    return value(x.terms)


def _places(walk: Walk, x: Value, spatial: int) -> Any:
    """Windows slide over the last dimensions."""
    walk.seen(*x.terms[: len(x.dims) - spatial])
    over_all = walk.why.startswith("adaptive") and all(n == 1 for n in walk.shape[-spatial:])
    if not over_all:
        walk.fix(*x.terms[-spatial:])
    new = [walk.fixed(n) for n in walk.shape[-spatial:]]
    pooled = value([*x.terms[:-spatial], *new])
    found = walk.node.meta["val"]
    return [pooled] * len(found) if isinstance(found, (list, tuple)) else pooled


@rule(
    *(
        f"{kind}_pool{n}d{more}"
        for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "_adaptive_avg")
        for n in (1, 2, 3)
        for more in ("", "_with_indices")
    )
)
def _pool(walk: Walk, x: Value, *_: Any, **__: Any) -> Any:
    name = walk.operation
    return _places(walk, x, int(name[name.index("pool") + 4]))


@rule(
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d"),
    *(
        "upsample_linear1d",
        "upsample_bicubic2d",
        "upsample_trilinear3d",
        "_upsample_nearest_exact2d",
    ),
    *("_upsample_bilinear2d_aa", "reflection_pad1d", "reflection_pad2d", "replication_pad1d"),
    "replication_pad2d",
)
def _resample(walk: Walk, x: Value, *_: Any, **__: Any) -> Any:
    return _places(walk, x, len(x.dims) - 2)


# --- look-ups -------------------------------------------------------------------------------------


@rule("embedding")
def _embedding(walk: Walk, table: Value, at: Value, *_: Any) -> Value:
    walk.use(table, "embedding", {0: "index"})
    walk.fix(table.terms[0])
    walk.seen(*table.terms[1:])
    return value([*at.terms, *table.terms[1:]])


@rule("index_select")
def _index_select(walk: Walk, x: Value, dim: int, at: Value) -> Value:
    walk.fix(x.terms[dim], *at.terms)
    terms = list(x.terms)
    terms[dim] = at.terms[0]
    return value(terms)


@rule("index")
def _index(walk: Walk, x: Value, at: list[Value | None]) -> Value:
    used = [k for k, i in enumerate(at) if i is not None]
    walk.fix(*(x.terms[k] for k in used), *(t for i in at if i is not None for t in i.terms))
    walk.use(x, "embedding", dict.fromkeys(used, "index"))
    rest = [t for k, t in enumerate(x.terms) if k not in used]
    count = len(walk.shape) - len(rest)
    first = used[0] if used == list(range(used[0], used[-1] + 1)) else 0
    new = [walk.fixed(n) for n in walk.shape[first : first + count]]
    return value([*rest[:first], *new, *rest[first:]])
