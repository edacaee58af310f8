"""What came of a search: a table, its best config as a file, pictures and one page."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from rich.table import Table

from pipeline.config.files import format_yaml
from pipeline.search import Search
from pipeline.views.html import render
from pipeline.views.plots import png
from pipeline.views.text_table import TextTable
from training.search.sampler import importances
from training.search.space import Dimension
from training.search.trials import Trial, best_of, ranked, shown
from training.tracking.store import shown as without_passwords

ROWS = 10  # of the terminal's table
OUTCOMES = 3  # columns before the values
PICTURES = {
    "curves.png": "Learning curves",
    "parallel.png": "Parallel coordinates",
    "importance.png": "Importance",
}
COLOURS = "viridis"
LABELLED = 8  # choices of an axis that are named
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
LABEL: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "bbox": BEHIND}


def cells(search: Search, trial: Trial) -> list[str]:
    """A trial as text, in the order of `headings`."""
    value = trial.best(search.objective)
    outcome = trial.reason if trial.status == "failed" else trial.status
    best = "–" if value is None else f"{value:.4g}"
    values = [shown(trial.params[d.key]) for d in search.space.dimensions]
    return [str(trial.number), best, str(len(trial.curve)), *values, outcome]


def headings(search: Search) -> list[str]:
    """Of the table of trials."""
    names = [search.short(d.key) for d in search.space.dimensions]
    return ["trial", search.objective.metric, "epochs", *names, "outcome"]


def table(search: Search, trials: list[Trial]) -> Table:
    """The best trials, for the terminal."""
    out = Table(title=title(search, trials), title_justify="left")
    for name in (*headings(search)[:OUTCOMES], "outcome", "values"):
        out.add_column(name, justify="left" if name in ("outcome", "values") else "right")
    for trial in ranked(trials, search.objective)[:ROWS]:
        row = cells(search, trial)
        values = [
            f"{search.short(d.key)} {shown(trial.params[d.key])}" for d in search.space.dimensions
        ]
        out.add_row(*row[:OUTCOMES], row[-1], ", ".join(values))
    return out


def title(search: Search, trials: list[Trial]) -> str:
    """What was searched, and what was gained."""
    counts = {s: sum(t.status == s for t in trials) for s in ("done", "stopped", "failed")}
    outcomes = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    lines = [f"{search.experiment.config.name} {search.model}: {len(trials)} trials ({outcomes})"]
    default = next((t for t in trials if t.params == search.space.default), None)
    best = best_of(trials, search.objective)
    if default is not None and best is not None:
        before, after = default.best(search.objective), best.best(search.objective)
        if before is not None and after is not None:
            lines.append(
                f"{search.objective.metric}: {after:.4g}, with the config's own values {before:.4g}"
            )
    return "\n".join(lines)


def write(search: Search, trials: list[Trial]) -> dict[str, bytes]:
    """Write the best config, pictures and the page; attach them to the search's run.

    Returns:
        File name -> content.
    """
    best = best_of(trials, search.objective)
    assert best is not None
    store, folder = search.environment.store, search.folder
    where = f"# the best of {len(trials)} trials: {folder}, trial {best.number}\n"
    config = where + without_passwords(format_yaml(search.best_config(best)))
    shares = importances(search.space, search.objective, trials)
    files = {
        "best.yaml": config.encode(),
        "curves.png": learning_curves(search, trials),
        "parallel.png": parallel_coordinates(search, trials),
        "importance.png": importance(search, shares),
    }
    files["search.html"] = page(search, trials, files).encode()
    for name, data in files.items():
        store.publish(f"{folder}/{name}", data)
        search.tracking.artifact(name, data)
    return files


def page(search: Search, trials: list[Trial], files: dict[str, bytes]) -> str:
    """The whole search as one page."""
    heading, *lead = title(search, trials).split("\n")
    pictures = [
        (caption, f"data:image/png;base64,{base64.b64encode(files[name]).decode()}")
        for name, caption in PICTURES.items()
    ]
    rows = [cells(search, trial) for trial in ranked(trials, search.objective)]
    return render(
        "search.html",
        "tune",
        heading,
        f"{search.experiment.config.name}, a search",
        lead=lead,
        pictures=pictures,
        trials=TextTable("trials", headings(search), rows),
        best=files["best.yaml"].decode(),
        config=search.experiment.text,
    )


def learning_curves(search: Search, trials: list[Trial]) -> bytes:
    """The objective against epochs, a line per trial; the best one, and the config's own values."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    best, default = best_of(trials, search.objective), search.space.default
    for trial in trials:
        if not trial.curve:
            continue
        epochs, values = zip(*trial.curve, strict=True)
        style: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "alpha": 0.7}
        if trial is best:
            style = {"color": "C0", "linewidth": 2, "label": f"best (trial {trial.number})"}
        elif trial.params == default:
            style = {"color": "C1", "linewidth": 2, "label": f"the config's own ({trial.number})"}
        elif trial.status == "stopped":
            axes.plot(epochs[-1], values[-1], "x", color="0.5", markersize=4)
        if len(epochs) == 1:
            style["marker"] = "."
        axes.plot(epochs, values, zorder=3 if "label" in style else 1, **style)
    axes.set_xlabel("epoch (x: stopped there)")
    axes.set_ylabel(search.objective.metric)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def parallel_coordinates(search: Search, trials: list[Trial]) -> bytes:
    """A line per trial across one axis per value, coloured by the objective."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    dimensions = search.space.dimensions
    known = [(t, float(v)) for t in trials if (v := t.best(search.objective)) is not None]
    values = [v for _, v in known]
    figure = Figure(figsize=(min(11.0, 1.6 * len(dimensions) + 2.5), 4.6), layout="constrained")
    axes = figure.subplots()
    # most trials lie close together, and a few far off: the colours begin at the lower tenth
    low, high = np.quantile(values, [0.1, 1] if search.objective.greater else [0, 0.9])
    scale = Normalize(low, high) if high > low else Normalize(low - 0.5, low + 0.5)
    colours = colormaps[COLOURS if search.objective.greater else f"{COLOURS}_r"]
    order = sorted(known, key=lambda pair: pair[1], reverse=not search.objective.greater)
    for trial, value in order:
        heights = [position(d, trial.params[d.key]) for d in dimensions]
        x = range(len(heights))
        axes.plot(x, heights, color=colours(scale(value)), linewidth=1.4, alpha=0.85)
        axes.plot(x, heights, ".", color=colours(scale(value)), markersize=5)
    for i, dimension in enumerate(dimensions):
        axes.axvline(i, color="0.3", linewidth=0.8, zorder=0)
        for value, height in ticks(dimension):
            axes.text(i - 0.05, height, shown(value), **LABEL)
    names = [search.short(d.key) for d in dimensions]
    axes.set_xticks(range(len(names)), names, fontsize=9, rotation=15)
    axes.set_yticks([])
    axes.set_xlim(-0.45, max(0.4, len(dimensions) - 0.8))
    axes.set_ylim(-0.05, 1.05)  # whole axes, however few trials there are
    axes.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(scale, colours), ax=axes, label=search.objective.metric)
    return png(figure)


def importance(search: Search, shares: dict[str, float]) -> bytes:
    """Bars: which share of the differences each value explains."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.45 * max(2, len(shares)) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    if not shares:
        axes.text(0.5, 0.5, "too few trials", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return png(figure)
    names = list(shares)[::-1]
    axes.barh([search.short(name) for name in names], [100 * shares[name] for name in names])
    for i, name in enumerate(names):
        axes.text(100 * shares[name] + 1, i, f"{100 * shares[name]:.0f}", va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_xlabel(f"share of the differences in {search.objective.metric}, % (fANOVA)")
    return png(figure)


def position(dimension: Dimension, value: Any) -> float:
    """Where a value stands on its axis, from 0 to 1."""
    if dimension.range.choice is not None:
        return dimension.range.choice.index(value) / max(1, len(dimension.range.choice) - 1)
    low, high = dimension.range.bounds
    if dimension.range.log_uniform is not None:
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))


def ticks(dimension: Dimension) -> list[tuple[Any, float]]:
    """Values that are named on an axis, and where."""
    if dimension.range.choice is not None:
        some = dimension.range.choice[:: -(-len(dimension.range.choice) // LABELLED)]
        return [(value, position(dimension, value)) for value in some]
    low, high = dimension.range.bounds
    middle = math.sqrt(low * high) if dimension.range.log_uniform is not None else (low + high) / 2
    return [(value, position(dimension, value)) for value in (low, middle, high)]
