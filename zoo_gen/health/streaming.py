"""Statistics of what passes by once, in memory that does not grow with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf, nan, sqrt

import numpy as np
import numpy.typing as npt

from zoo_gen.zoo.shards import Columns

MOST_WORDS = 1000


@dataclass
class Moments:
    """Count, mean, spread and ends of numbers that come in parts (Chan, Golub, LeVeque 1983).

    Numbers that are not finite are left out. All four are NaN of no numbers.
    """

    count: int = 0
    mean: float = nan
    squares: float = 0.0
    low: float = nan
    high: float = nan

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Take in more numbers, of any shape."""
        if not (whole := np.isfinite(values)).all():
            values = values[whole]
        if not values.size:
            return
        mean = float(values.mean(dtype=np.float64))
        squares = float(values.var(dtype=np.float64)) * values.size
        if self.count:
            total = self.count + values.size
            apart = mean - self.mean
            self.squares += squares + apart**2 * self.count * values.size / total
            self.mean += apart * values.size / total
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
        else:
            self.mean, self.squares = mean, squares
            self.low, self.high = float(values.min()), float(values.max())
        self.count += values.size

    @property
    def std(self) -> float:
        """Of all numbers together (divided by their count)."""
        return sqrt(self.squares / self.count) if self.count else nan


@dataclass
class Thinned:
    """Every k-th row of columns that come in parts, k the least power of two that leaves few.

    Attributes:
        most: rows that stay.
        step: k.
    """

    most: int
    step: int = 1
    _seen: int = 0
    _parts: list[Columns] = field(default_factory=list)

    def add(self, columns: Columns) -> None:
        """Take in more rows; every part has the same columns."""
        first = -self._seen % self.step
        # copied: a slice would keep the whole part in memory
        self._parts.append({name: x[first :: self.step].copy() for name, x in columns.items()})
        self._seen += _length(columns)
        while sum(map(_length, self._parts)) > self.most:
            self.step *= 2
            self._parts = [{name: x[::2].copy() for name, x in self.columns.items()}]

    @property
    def columns(self) -> Columns:
        """The rows that stayed, none of no parts."""
        if len(self._parts) > 1:
            names = self._parts[0]
            self._parts = [{n: np.concatenate([part[n] for part in self._parts]) for n in names}]
        return self._parts[0] if self._parts else {}


@dataclass
class Words:
    """How often each text occurs, of the first thousand different ones.

    Attributes:
        counts: text -> how often, the empty text (a missing value) left out.
        more: texts beyond the first thousand different ones.
    """

    counts: Counter[str] = field(default_factory=Counter)
    more: int = 0

    def add(self, values: npt.NDArray[np.str_]) -> None:
        """Take in more texts."""
        for text, count in zip(*np.unique(values[values != ""], return_counts=True), strict=True):
            if str(text) in self.counts or len(self.counts) < MOST_WORDS:
                self.counts[str(text)] += int(count)
            else:
                self.more += int(count)


@dataclass
class Ends:
    """Least and greatest value at each position of vectors that come in parts.

    Attributes:
        low, high: ``[size]``.
        count: vectors.
    """

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    count: int = 0

    @classmethod
    def of(cls, size: int) -> Ends:
        """Of no vectors yet."""
        return cls(np.full(size, inf, np.float32), np.full(size, -inf, np.float32))

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Take in more vectors ``[k, size]``."""
        if len(values):
            np.minimum(self.low, values.min(0), out=self.low)
            np.maximum(self.high, values.max(0), out=self.high)
            self.count += len(values)

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """``[size]``: where two vectors or more never differed."""
        same: npt.NDArray[np.bool_] = (self.low == self.high) & (self.count > 1)
        return same


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0
