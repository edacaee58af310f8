"""Pictures of a report: metrics per model, training curves, errors against training networks."""

from __future__ import annotations

import io
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.views.report_rows import Row
from training.tasks import Metric
from training.tasks.metrics import sample_deviation

Counts = npt.NDArray[np.int64]


def bars(found: list[Row], metric: Metric, chance: float | None = None) -> bytes:
    """Bars of one test metric, one dot per seed, as PNG.

    Args:
        chance: where to draw a line, as the metric counts.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.7 * len(found) + 1.4), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(found):
        values = [metric.scaled(v) for v in row.test[metric.name]]
        axes.barh(i, statistics.mean(values), color=f"C{i % 10}", alpha=0.75)
        axes.plot(values, [i] * len(values), "o", color="black", markersize=4)
        text, place = metric.text(row.test[metric.name]), (max(*values, 0.0), i)
        axes.annotate(text, place, (6, 0), textcoords="offset points", va="center")
    if chance is not None:
        line_at = metric.scaled(chance)
        axes.axvline(line_at, color="gray", linestyle="--", linewidth=1)
        axes.annotate("chance", (line_at, len(found) - 0.45), color="gray", fontsize=8)
    axes.set_yticks(range(len(found)), [row.name for row in found])
    axes.set_ylim(len(found) - 0.3, -0.6)
    axes.margins(x=0.3)
    axes.set_xlabel(f"test {metric.heading} (dots: seeds)")
    return png(figure, axes)


def curves(found: list[Row], metric: Metric, chance: float | None = None) -> bytes:
    """The main metric on validation networks against epochs, one line per seed, as PNG.

    A model of one epoch, such as a reference that does not train, is a dotted level.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(found):
        for k, curve in enumerate(row.curves):
            epochs, values = zip(*curve, strict=True)
            shown = [metric.scaled(v) for v in values]
            style: dict[str, Any] = {
                "color": f"C{i % 10}",
                "label": row.name if k == 0 else None,
                "alpha": 0.8,
            }
            if len(curve) == 1:
                axes.axhline(shown[0], linestyle=":", **style)
            else:
                axes.plot(epochs, shown, **style)
    if chance is not None:
        line_at = metric.scaled(chance)
        axes.axhline(line_at, color="gray", linestyle="--", linewidth=1, label="chance")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation {metric.heading}")
    _bound(axes, metric, [v for row in found for curve in row.curves for _, v in curve])
    # beside the lines, which with nine models leave it no room
    figure.legend(loc="outside right upper", frameon=False)
    return png(figure, axes)


def against_networks(found: list[Row], metric: Metric) -> bytes:
    """A test metric against the number of training networks, mean and deviation, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, model in enumerate(dict.fromkeys(row.model for row in found)):
        rows = [row for row in found if row.model == model and row.networks is not None]
        values = [[metric.scaled(v) for v in row.test[metric.name]] for row in rows]
        deviations = [sample_deviation(v) for v in values]
        axes.errorbar(
            [row.networks or 0 for row in rows],
            [statistics.mean(v) for v in values],
            deviations,
            color=f"C{i % 10}",
            marker="o",
            markersize=4,
            capsize=3,
            label=model,
        )
    numbers = sorted({row.networks for row in found if row.networks is not None})
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{n:,}" for n in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    if not metric.greater:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training networks")
    axes.set_ylabel(f"test {metric.heading}")
    # beside the lines, which with nine models leave it no room
    figure.legend(loc="outside right upper", frameon=False)
    return png(figure, axes)


def confusion_png(counts: Counts, title: str) -> bytes:
    """A confusion matrix as PNG."""
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    side = 2 + 0.4 * len(counts)
    axes = Figure(figsize=(side, side), layout="constrained").subplots()
    ConfusionMatrixDisplay(counts).plot(ax=axes, cmap="Blues", colorbar=False)
    axes.set_title(title, fontsize=10)
    return png(axes.figure)


def _bound(axes: Any, metric: Metric, values: list[float]) -> None:
    """Begin at zero what counts from there; errors that span decades have a logarithmic axis."""
    known = [v for v in values if v == v]
    if not metric.greater and known and min(known) > 0 and max(known) > 30 * min(known):
        axes.set_yscale("log")
    elif metric.unit == "%" or not metric.greater:
        axes.set_ylim(bottom=0)
    elif known and min(known) < -1:  # R² of a model that knows less than the mean
        axes.set_ylim(bottom=-1)


def png(figure: Any, axes: Any = None) -> bytes:
    """A matplotlib figure as PNG bytes, without the frame's upper and right side."""
    if axes is not None:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
