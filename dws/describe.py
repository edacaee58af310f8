"""A weight space in words: its axes, its group, and why some axes are fixed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dws.space import WeightSpace

LINES = 40
"""Axes that are listed at most; the others are counted."""


def describe(space: WeightSpace) -> str:
    """A table of the axes of a space."""
    lines = [
        f"{space}: {len(space.names)} tensors, {space.size:,} weights",
        f"group: {group(space)}",
    ]
    lines += _table(
        "hidden axes (permutable)",
        {a: _size(space, a) + ", in " + _tensors(space, a) for a in space.hidden},
    )
    reasons = space.origin.reasons if space.origin else {}
    fixed = [a for a in space.sizes if a not in space.hidden]
    lines += _table(
        "fixed axes",
        {a: _size(space, a) + (f": {reasons[a]}" if a in reasons else "") for a in fixed},
    )
    return "\n".join(lines)


def group(space: WeightSpace) -> str:
    """The symmetry group, as ``S_64 x S_4 wr S_2``; equal factors are counted."""
    inside: dict[str, list[str]] = {}
    for child, parent in space.parents.items():
        inside.setdefault(parent, []).append(child)
    factors: Counter[str] = Counter()
    for axis in space.sizes:
        own = [f"S_{space.sizes[c]}" for c in inside.get(axis, ())]
        blocks = own[0] if len(own) == 1 else f"({' x '.join(own)})"
        if axis in space.hidden and axis not in space.parents:
            outer = f"S_{space.sizes[axis]}"
            factors[f"({blocks} wr {outer})" if own else outer] += 1
        elif own:
            factors[f"{blocks}^{space.sizes[axis]}"] += 1
    return " x ".join(f if n == 1 else f"{f}^{n}" for f, n in factors.items()) or "trivial"


def _table(title: str, rows: dict[str, str]) -> list[str]:
    if not rows:
        return [f"{title}: none"]
    wide = max(map(len, rows))
    shown = [f"  {name:<{wide}}  {text}" for name, text in list(rows.items())[:LINES]]
    more = [f"  ... and {len(rows) - LINES} more"] if len(rows) > LINES else []
    return [f"{title}:", *shown, *more]


def _size(space: WeightSpace, axis: str) -> str:
    parent = space.parents.get(axis)
    return f"{space.sizes[axis]}" + (f" in each {parent}" if parent else "")


def _tensors(space: WeightSpace, axis: str) -> str:
    found = [n for n, own in space.axes.items() if axis in own]
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more
