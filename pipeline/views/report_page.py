"""The report of an experiment as one page, complete in itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console

from pipeline.experiment import Experiment
from pipeline.progress import Bar
from pipeline.views.charts import SERIES, Chart, Line, curves, scatter
from pipeline.views.gallery import Gallery, gallery
from pipeline.views.html import render
from pipeline.views.predictions import MOST_CLASSES, Predictions, targets_of
from pipeline.views.provenance import provenance, run_ids
from pipeline.views.report import cells, title
from pipeline.views.report_rows import Row, best_of
from pipeline.views.text_table import TextTable
from pipeline.views.zoo_tables import zoo_tables
from training import results
from training.train_job import zoo_at
from zoo_gen.health.health import examine
from zoo_gen.health.verdict import findings

LOOKS = 10  # of lines: colours, then dashes


def page(
    experiment: Experiment, found: list[Row], predictions: Predictions, console: Console
) -> str:
    """The whole page as HTML.

    Args:
        experiment: that is reported.
        found: the table's rows.
        predictions: of the best model.
        console: for progress.
    """
    row, job = best_of(experiment, found)
    config, main = experiment.config, experiment.config.task_or_default.main
    count, output = len(row.validation), predictions.output
    sheet = cells(experiment, found)
    notes = [line + "." for line in title(experiment).split("\n")]
    origin = [*provenance(experiment, found), ["model shown", f"{job.title}: {job.folder}"]]
    return render(
        "report.html",
        "report",
        f"{config.name}: {main.title}",
        f"{config.name}, a report",
        best=row.name,
        metric=main.title,
        score=main.text(row.test[main.name]) + (main.unit and f" {main.unit}"),
        seeds=f"mean ± std over {count} seeds" if count > 1 else "one seed",
        models=TextTable("models", list(sheet[0]), [list(line.values()) for line in sheet], notes),
        names=[row.name for row in found],
        curves=_curves(experiment, found),
        shown=job.title,
        confusion=(
            predictions.counts.tolist()
            if output.kind == "logits" and output.size <= MOST_CLASSES
            else None
        ),
        scatters=_scatters(predictions) if output.kind == "values" else [],
        examples=_examples(experiment, predictions),
        **_health(experiment, console),
        config=experiment.text.rstrip(),
        provenance=TextTable("reproduce", None, origin),
        runs=TextTable("runs", ["model", "runs in MLflow"], run_ids(found)),
    )


def _curves(experiment: Experiment, found: list[Row]) -> list[Chart]:
    """The main metric, and the losses, against epochs: a line per seed, a colour per model."""
    main, store = experiment.config.task_or_default.main, experiment.environment.store
    names = [(row.model, row.networks) for row in found]
    history = [
        (names.index((job.model, job.networks)), results.read(store, job).history)
        for job in experiment.jobs
    ]
    x = np.arange(1, max(len(records) for _, records in history) + 1, dtype=float)
    charts = []
    for name, what in (
        (f"val_{main.name}", f"validation {main.heading}"),
        ("val_loss", "validation loss"),
        ("train_loss", "training loss"),
    ):
        scale = main.scaled if name == f"val_{main.name}" else float
        lines = []
        for series, records in history:
            values = np.array([scale(record[name]) for record in records], float)
            # one that was trained for fewer epochs stays where it ended
            padded = np.interp(x, x[: len(values)], values)
            look = series % LOOKS
            lines.append(Line(padded, f"s{look % SERIES}", 1.4, dashed=look >= SERIES))
        charts.append(curves(x, lines, f"{what} against epochs", "epoch", what))
    return charts


def _scatters(predictions: Predictions) -> list[Chart]:
    true, predicted = predictions.true, predictions.predicted.astype(float)
    return [
        scatter(true[:, i], predicted[:, i], (f"true {name}", f"predicted {name}"))
        for i, name in enumerate(predictions.output.names)
    ]


def _examples(experiment: Experiment, predictions: Predictions) -> list[tuple[str, Gallery]]:
    zoo = zoo_at(experiment.environment.store, predictions.job.zoo)
    targets, shown = targets_of(experiment), []
    for heading, chosen in predictions.examples().items():
        drawn = gallery(zoo, targets, chosen) if chosen else None
        if drawn is not None:
            shown.append((heading, drawn))
    return shown


def _health(experiment: Experiment, console: Console) -> dict[str, Any]:
    zoo = zoo_at(experiment.environment.store, experiment.facts.folder)
    with Bar(console, "examining the zoo", len(zoo), "networks") as bar:
        bar.update(0)
        health = examine(zoo, bar.update)
        bar.update(len(zoo))
    known = {sheet.title: sheet for sheet in zoo_tables(health)}
    kept = [known[name] for name in ("zoo", "counts", "columns") if name in known]
    return {"findings": findings(health), "zoo_tables": kept}
