"""A table of text, the same on a terminal and on a page, and how numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        title: of it.
        header: a name per column; the first is left-aligned. None for pairs of name and text.
        rows: cells.
        notes: lines below it.
    """

    title: str
    header: list[str] | None
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def printable(text: object) -> str:
    """Text from a zoo as one line without control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def number(value: float) -> str:
    """Three to four digits; whole numbers as they are, and ``nan`` and ``inf``."""
    if not math.isfinite(value):
        return str(float(value))
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def size(count: float) -> str:
    """Bytes, readable."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:,.1f} {unit}"
    return f"{count:,.0f} bytes"
