"""Small charts: matplotlib's SVG, in the colours of the page around it, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

from pipeline.views.text_table import number

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 34
BINS = 30
DECADES = 1.5  # a positive column that spans more may have a logarithmic axis
MOST_POINTS = 1000
FEW_POINTS = 200
MOST_WORDS = 8
SERIES = 8  # colours of lines; lines beyond them are dashed
# matplotlib knows no CSS: what it draws in these colours takes the page's
COLOURS = {
    "soft": "#010101",
    "line": "#020202",
    "mark": "#030303",
    "warm": "#040404",
    **{f"s{i}": f"#0505{i:02}" for i in range(SERIES)},
}
P = ParamSpec("P")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dwszoo",
    "font.size": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "axes.labelsize": 11,
    "axes.edgecolor": COLOURS["soft"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "grid.color": COLOURS["line"],
    "path.simplify": False,
    "text.parse_math": False,  # names of columns are no formulas
}
Numbers = npt.NDArray[np.float64]


def _styled(draw: Callable[P, Chart]) -> Callable[P, Chart]:
    """Draw in our style; matplotlib reads it while a figure is built and written."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Chart:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Chart:
    """A chart for a page.

    Attributes:
        svg: the element.
        caption: below it, if any.
    """

    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Line:
    """A line of `curves`.

    Attributes:
        values: ``[points]``; gaps where it is not finite.
        colour: a key of `COLOURS`.
        width: in pixels.
        opacity: from 0 to 1.
        dashed: whether it is dashed.
    """

    values: Numbers
    colour: str = "mark"
    width: float = 1.5
    opacity: float = 1.0
    dashed: bool = False


@_styled
def histogram(values: Numbers, title: str, what: str = "networks") -> Chart:
    """How often values occur; ``[k]`` finite numbers, each one of ``what``."""
    whole = bool((values == np.rint(values)).all() and np.ptp(values) < BINS)
    log = not whole and spans_decades(values)
    if whole:  # classes: a bar each
        edges = np.arange(values.min() - 0.5, values.max() + 1)
    else:
        edges = np.histogram_bin_edges(np.log10(values) if log else values, BINS)
        edges = 10**edges if log else edges
    figure, axes = _figure()
    axes.hist(values, edges, color=COLOURS["mark"], rwidth=0.9)
    _scale(axes, values, log, whole)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.set_xlabel(title)
    span = f"from {number(float(values.min()))} to {number(float(values.max()))}"
    return _chart(figure, f"Histogram of {title}, {len(values):,} {what}, {span}")


@_styled
def scatter(x_values: npt.NDArray[np.generic], y_values: Numbers, names: tuple[str, str]) -> Chart:
    """One column against another, a dot per network; words stand side by side."""
    keep = np.linspace(0, len(y_values) - 1, min(len(y_values), MOST_POINTS)).astype(int)
    figure, axes = _figure()
    if x_values.dtype.kind == "U":
        words, counts = np.unique(x_values, return_counts=True)
        words = words[np.argsort(-counts, kind="stable")[:MOST_WORDS]]
        keep = keep[np.isin(x_values[keep], words)]
        position = {str(word): i for i, word in enumerate(words)}
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(keep))
        xs = np.array([position[str(word)] for word in x_values[keep]]) + spread
        axes.set_xticks(range(len(words)), [_short(str(word)) for word in words])
        axes.set_xlim(-0.5, len(words) - 0.5)
    else:
        xs = x_values[keep].astype(float)
        _scale(axes, xs, spans_decades(xs), False)
    size = 6 if len(keep) <= FEW_POINTS else 4
    axes.plot(xs, y_values[keep], "o", color=COLOURS["mark"], markersize=size, markeredgewidth=0)
    axes.set_xlabel(names[0])
    return _chart(figure, f"{names[1]} against {names[0]}, {len(keep):,} networks")


@_styled
def curves(
    x_values: Numbers, lines: list[Line], title: str, below: str = "x", caption: str = ""
) -> Chart:
    """Functions of one variable ``[points]``.

    Args:
        x_values: of the variable.
        lines: of the functions.
        title: for screen readers.
        below: name of the variable.
        caption: below the chart.
    """
    figure, axes = _figure()
    for line in lines:
        values = np.where(np.isfinite(line.values), line.values, np.nan)
        style = "--" if line.dashed else "-"
        axes.plot(
            x_values, values, style, color=COLOURS[line.colour], lw=line.width, alpha=line.opacity
        )
    if len(x_values) > 1:
        axes.set_xlim(x_values.min(), x_values.max())
    _scale(axes, x_values, False, below == "epoch")
    axes.set_xlabel(below)
    return _chart(figure, title, caption)


def spans_decades(values: Numbers) -> bool:
    """Whether a logarithmic axis spreads positive values more evenly."""
    low, high = float(values.min()), float(values.max())
    if low <= 0 or np.log10(high / low) <= DECADES:
        return False
    logs = np.log10(values)
    off = [abs((np.median(v) - v.min()) / np.ptp(v) - 0.5) for v in (logs, values)]
    return bool(off[0] < off[1])


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    size = (WIDTH - LEFT - RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / HEIGHT
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, *size))
    axes.locator_params(nbins=4)
    return figure, axes


def _scale(axes: Any, values: Numbers, log: bool, whole: bool) -> None:
    """The scale and the marks of the x axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if log:
        axes.set_xscale("log")
        narrow = np.log10(values.max() / values.min()) < DECADES + 1
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if narrow else (1,), numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    elif whole:
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _mark(value)))


def _mark(value: float) -> str:
    return number(round(value, 12)) if abs(value) > 1e-12 else "0"


def _short(text: str) -> str:
    return text if len(text) <= 12 else f"{text[:11]}…"


def _chart(figure: Any, title: str, caption: str = "") -> Chart:
    """The figure's SVG, described for screen readers, in the page's colours."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.patch.set_visible(False)
    figure.axes[0].patch.set_visible(False)
    figure.savefig(buffer, format="svg", metadata=nothing)
    svg = re.sub(r"^.*?<svg [^>]*>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.\w+)_?\d*"', "", svg
    )
    svg = re.sub(r"font-family: [^;]*; ", "", svg)  # the page's own letters
    dots = f'style="fill: {COLOURS["mark"]}"'
    svg = re.sub(rf"(<use [^>]*){re.escape(dots)}", r'\1class="dot"', svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"\s*\n\s*", " ", svg)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    return Chart(f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{svg}'.rstrip(), caption)
