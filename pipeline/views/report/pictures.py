"""Pictures of what a model told, as PNG: for MLflow, whose pages show pictures one by one."""

from __future__ import annotations

import numpy as np

from pipeline.steps import Run
from pipeline.views.inspect.gallery import drawn_by
from pipeline.views.inspect.targets import Targets
from pipeline.views.report.examples import MOST_CLASSES, Answered, Counts, confusion_of, targets_of
from pipeline.views.report.plots import png
from training import results
from training.train_job import zoo_at
from zoo_gen import ZooReader

SIDE = 1.5  # inches of one network's picture


def attach(run: Run, answered: Answered) -> None:
    """Pictures as artifacts: of the best model to the run, confusion matrices to every child."""
    tracking, store = run.tracking, run.place.store
    if drawn := examples_png(answered, zoo_at(store, answered.job.zoo), targets_of(run)):
        tracking.artifact("examples.png", drawn)
    if answered.output.kind != "logits" or answered.output.size > MOST_CLASSES:
        return
    tracking.artifact("confusion.png", confusion_png(answered.counts, answered.job.title))
    for job in run.jobs:
        child = tracking.find(job.hash8, finished=True)
        if child is not None:
            said = np.array(results.read(store, job).predictions)
            counts = confusion_of(answered.true, said, answered.output.size)
            tracking.artifact("confusion.png", confusion_png(counts, job.title), child)


def confusion_png(counts: Counts, title: str) -> bytes:
    """True classes (rows) against told ones (columns), coloured by the row's shares."""
    from matplotlib.figure import Figure

    side = 2 + 0.4 * len(counts)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(counts)))
    axes.set_yticks(range(len(counts)))
    axes.set_xlabel("told")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    return png(figure)


def examples_png(answered: Answered, zoo: ZooReader, targets: Targets) -> bytes | None:
    """What networks draw that were told right and wrong, a row each; None if they draw nothing."""
    from matplotlib.figure import Figure

    rows = {
        heading: drawn_by(zoo, targets, chosen)
        for heading, chosen in answered.examples().items()
        if chosen
    }
    known = {heading: drawn for heading, drawn in rows.items() if drawn is not None}
    if not known:
        return None
    width = max(len(drawings) for _, drawings in known.values())
    figure = Figure(figsize=(SIDE * width, (SIDE + 0.9) * len(known)), layout="constrained")
    parts = figure.subfigures(len(known), squeeze=False)[:, 0]
    for part, (heading, (view, drawings)) in zip(parts, known.items(), strict=True):
        part.suptitle(heading, weight="bold", fontsize=10)
        row = part.subplots(1, width, squeeze=False)[0]
        for axes in row:
            axes.set_axis_off()
        for axes, drawing in zip(row, drawings, strict=False):
            if view.kind == "curve":
                axes.plot(view.points[:, 0], drawing.drawn[:, 0])
            else:
                values = drawing.drawn.clip(0, 1) if view.kind == "image" else drawing.drawn
                axes.imshow(values, cmap="gray" if view.kind == "image" else "RdBu_r")
            words = drawing.caption.split(", ")
            axes.set_title("\n".join(w for w in words if "told" in w or "label" in w), fontsize=8)
    return png(figure)
