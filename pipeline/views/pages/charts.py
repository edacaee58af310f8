"""Small charts as SVG that takes its colours and letters from the page around it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from pipeline.views.pages.sheet import number

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 34
BINS = 30
DECADES = 1.5  # a positive column that spans more may be shown on a logarithmic axis
MOST_POINTS = 1000
FEW_POINTS = 200
MOST_WORDS = 8
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels.

    Attributes:
        low, high: values at the ends (logarithms if `log`).
        start, stop: pixels at the ends.
        log: whether the logarithm to base 10 is shown.
        words: names of the values 0, 1, ..., where it shows words.
        whole: whether values are whole numbers.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    words: tuple[str, ...] = ()
    whole: bool = False

    @classmethod
    def of(cls, values: Numbers, start: float, stop: float, log: bool | None = None) -> Axis:
        """An axis that holds all values; logarithmic if that spreads them more evenly."""
        low, high = float(values.min()), float(values.max())
        if log is None:
            log = low > 0 and np.log10(high / low) > DECADES and _central(np.log10(values), values)
        if log:
            low, high = float(np.log10(low)), float(np.log10(high))
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            room = abs(low) * 0.05 or 0.5
            low, high = low - room, high + room
        return cls(low, high, start, stop, log)

    def place(self, values: Numbers) -> Numbers:
        """Pixels of values."""
        shown = np.log10(values) if self.log else values
        share = (shown - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of a few round values."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        if self.words:
            at = self.place(np.arange(len(self.words), dtype=float))
            return list(zip(at.tolist(), self.words, strict=True))
        if self.log:
            between = (1, 3) if self.high - self.low < DECADES + 1 else (1,)
            ends = 10.0**self.low, 10.0**self.high
            located = np.log10(LogLocator(subs=between, numticks=5).tick_values(*ends)).tolist()
        else:
            located = list(MaxNLocator(4, integer=self.whole).tick_values(self.low, self.high))
        marks = np.array([t for t in located if self.low <= t <= self.high])
        values = 10.0**marks if self.log else marks
        return [
            (p, number(round(v, 12)) if abs(v) > 1e-12 else "0")
            for p, v in zip(self.place(values).tolist(), values.tolist(), strict=True)
        ]


def _central(values: Numbers, others: Numbers) -> bool:
    """Whether the median of the one lies nearer to the middle of its range than of the other."""
    a, b = (abs((np.median(v) - v.min()) / np.ptp(v) - 0.5) for v in (values, others))
    return bool(a < b)


def histogram(values: Numbers, title: str, what: str = "networks") -> str:
    """How often values occur; ``[k]`` finite numbers, each one of ``what``."""
    x = Axis.of(values, LEFT, WIDTH - RIGHT)
    shown = np.log10(values) if x.log else values
    whole = not x.log and bool((values == np.rint(values)).all()) and x.high - x.low < BINS
    if whole:  # classes: a bar each
        low, high = float(values.min()) - 0.5, float(values.max()) + 0.5
        x = Axis(low, high, LEFT, WIDTH - RIGHT, whole=True)
        edges = np.arange(low, high + 0.75)
    else:
        edges = np.linspace(x.low, x.high, BINS + 1)
    counts, _ = np.histogram(shown, edges)
    y = Axis(0, float(counts.max()), HEIGHT - BOTTOM, TOP, whole=True)
    lefts = x.start + (edges - x.low) / (x.high - x.low) * (x.stop - x.start)
    bars = "".join(
        f'<rect x="{a + 0.5:.1f}" y="{top:.1f}" width="{max(b - a - 1, 0.5):.1f}" '
        f'height="{HEIGHT - BOTTOM - top:.1f}"/>'
        for a, b, n, top in zip(
            lefts, lefts[1:], counts, y.place(counts.astype(float)), strict=False
        )
        if n
    )
    told = f"Histogram of {title}, {len(values):,} {what}, {_span(values)}"
    return _svg(told, f'<g class="mark">{bars}</g>', x, y, title)


def scatter(x_values: npt.NDArray[np.generic], y_values: Numbers, names: tuple[str, str]) -> str:
    """One column against another, a dot per network; words stand side by side."""
    keep = np.linspace(0, len(y_values) - 1, min(len(y_values), MOST_POINTS)).astype(int)
    text, ys = x_values.dtype.kind == "U", y_values[keep]
    if text:
        words, counts = np.unique(x_values, return_counts=True)
        words = words[np.argsort(-counts, kind="stable")[:MOST_WORDS]]
        place = {str(w): float(i) for i, w in enumerate(words)}
        keep = keep[np.isin(x_values[keep], words)]
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(keep))
        xs = np.array([place[str(w)] for w in x_values[keep]]) + spread
        ys = y_values[keep]
        x = Axis(-0.5, len(words) - 0.5, LEFT, WIDTH - RIGHT, words=tuple(place))
    else:
        xs = x_values[keep].astype(float)
        x = Axis.of(xs, LEFT + 4, WIDTH - RIGHT - 4)
    y = Axis.of(ys, HEIGHT - BOTTOM - 4, TOP + 4, log=False)
    radius = 3 if len(keep) <= FEW_POINTS else 2
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>'
        for a, b in zip(x.place(xs), y.place(ys), strict=True)
    )
    told = f"{names[1]} against {names[0]}, {len(keep):,} networks"
    return _svg(told, f'<g class="dot">{dots}</g>', x, y, names[0])


def curves(
    x_values: Numbers, lines: list[tuple[Numbers, str]], title: str, below: str = "x"
) -> str:
    """Functions of one variable, each with the class of its line; ``[points]`` all.

    Where a function is not finite its line has a gap.

    Args:
        title: what a screen reader says.
        below: name of the variable.
    """
    every = np.concatenate([line for line, _ in lines])
    shown = every[np.isfinite(every)]
    x = Axis.of(x_values, LEFT, WIDTH - RIGHT, log=False)
    y = Axis.of(shown if len(shown) else np.zeros(1), HEIGHT - BOTTOM, TOP, log=False)
    body = ""
    for values, kind in lines:
        finite = np.isfinite(values)
        for piece in np.split(np.arange(len(values)), np.flatnonzero(np.diff(finite)) + 1):
            if finite[piece[0]]:
                points = zip(x.place(x_values[piece]), y.place(values[piece]), strict=True)
                body += f'<polyline class="{kind}" points="'
                body += " ".join(f"{a:.1f},{b:.1f}" for a, b in points) + '"/>'
    return _svg(title, body, x, y, below)


def _span(values: Numbers) -> str:
    return f"from {number(float(values.min()))} to {number(float(values.max()))}"


def _svg(told: str, body: str, x: Axis, y: Axis, below: str) -> str:
    """A chart with its axes; ``told`` is what a screen reader says."""
    floor = HEIGHT - BOTTOM
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}"/>']
    for at, text in y.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" class="end">{escape(text)}</text>')
    for at, text in x.ticks:
        parts.append(
            f'<text x="{at:.1f}" y="{floor + 13}" class="mid">{escape(_short(text))}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" class="mid">{escape(below)}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">'
        f"{''.join(parts)}{body}</svg>"
    )


def _short(text: str) -> str:
    return text if len(text) <= 12 else f"{text[:11]}…"
