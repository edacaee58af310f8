"""The report of a config as one page, complete in itself."""

from __future__ import annotations

from html import escape

import numpy as np
from rich.console import Console

from pipeline.commands.progress import Bar
from pipeline.steps import Run
from pipeline.views.inspect.gallery import figures
from pipeline.views.inspect.sheets import sheets
from pipeline.views.pages.charts import curves, scatter
from pipeline.views.pages.frame import cards, document, section, table, verdict
from pipeline.views.pages.sheet import Sheet
from pipeline.views.report.examples import MOST_CLASSES, Answered, Counts, targets_of
from pipeline.views.report.provenance import facts, runs
from pipeline.views.report.rows import Row, best_of
from pipeline.views.report.table import cells, title
from training import results
from training.jobs import TrainingJob
from training.train_job import zoo_at
from zoo_gen.health.health import examine
from zoo_gen.health.verdict import findings


def page(run: Run, found: list[Row], answered: Answered, console: Console) -> str:
    """The whole page as HTML.

    Args:
        found: the table's rows.
        answered: what the best model told.
        console: for progress.
    """
    row, job = best_of(run, found)
    task = run.config.task_or_default
    parts = [_lead(run, row), section("Models", _models(run, found))]
    parts.append(section("Training", _curves(run, found)))
    heading = f"{escape(job.title)} on the test networks"
    if answered.output.kind == "logits" and answered.output.size <= MOST_CLASSES:
        parts.append(section(f"Confusion: {heading}", confusion(answered.counts)))
    elif answered.output.kind == "values":
        parts.append(section(f"Told against true: {heading}", _scatters(answered)))
    if shown := _examples(run, answered):
        parts.append(section(f"Examples: {heading}", shown))
    parts.append(section("Health of the zoo", _health(run, console)))
    parts.append(section("Config", f"<pre>{escape(run.text.rstrip())}</pre>"))
    parts.append(section("How to reproduce", _reproduce(run, found, job)))
    name = f"{run.config.name}: {task.main.title}"
    return document(name, f"{run.config.name}, a report", "report", parts)


def _lead(run: Run, row: Row) -> str:
    task = run.config.task_or_default
    main, unit = task.main, task.main.unit and f" {task.main.unit}"
    seeds = len(row.validation)
    over = f"mean ± std over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f'<p class="lead">Best on validation networks: <strong>{escape(row.name)}</strong>, test '
        f"{escape(main.title)} {main.text(row.test[main.name])}{unit} ({over}; "
        "the test split was used once per model).</p>"
    )


def _models(run: Run, found: list[Row]) -> str:
    told = cells(run, found)
    notes = [line + "." for line in title(run).split("\n")]
    return table(Sheet("models", list(told[0]), [list(line.values()) for line in told], notes))


def _curves(run: Run, found: list[Row]) -> str:
    """The main metric, and the losses, against epochs: a line per seed, a colour per model."""
    main = run.config.task_or_default.main
    store = run.place.store
    names = [(row.model, row.networks) for row in found]
    history = [
        (names.index((job.model, job.networks)), results.read(store, job).history)
        for job in run.jobs
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
            lines.append((padded, f"series s{series % 10}"))
        charts.append(
            f"{curves(x, lines, f'{what} against epochs', 'epoch')}"
            f"<figcaption>{escape(what)}</figcaption>"
        )
    legend = "".join(
        f'<span class="s{i % 10}">{escape(r.name)}</span>' for i, r in enumerate(found)
    )
    return f'<p class="legend">{legend}</p>{cards(charts)}'


def confusion(counts: Counts) -> str:
    """A table of true classes (rows) against told ones (columns), coloured by the row's shares."""
    names = [str(i) for i in range(len(counts))]
    head = "".join(f'<th scope="col">{n}</th>' for n in names)
    rows = ""
    for name, row in zip(names, counts, strict=True):
        total = max(int(row.sum()), 1)
        told = "".join(
            f'<td style="--share:{45 * n / total:.0f}%">{n or ""}</td>' for n in row.tolist()
        )
        rows += f'<tr><th scope="row">{name}</th>{told}</tr>'
    return (
        "<p>A row per true class, a column per class that was told; networks.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="confusion matrix">'
        f'<table class="confusion"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _scatters(answered: Answered) -> str:
    charts = [
        scatter(answered.true[:, i], answered.said[:, i].astype(float), (f"true {n}", f"told {n}"))
        for i, n in enumerate(answered.output.names)
    ]
    return "<p>Told (upward) against true (rightward).</p>" + cards(charts)


def _examples(run: Run, answered: Answered) -> str:
    zoo, targets, out = zoo_at(run.place.store, answered.job.zoo), targets_of(run), ""
    for heading, chosen in answered.examples().items():
        shown = figures(zoo, targets, chosen) if chosen else None
        if shown is not None:
            out += f"<h3>{heading}</h3>{shown}"
    return out


def _health(run: Run, console: Console) -> str:
    zoo = zoo_at(run.place.store, run.facts.folder)
    with Bar(console, "examining the zoo", len(zoo), "networks") as bar:
        bar.update(0)
        health = examine(zoo, bar.update)
        bar.update(len(zoo))
    known = {sheet.title: sheet for sheet in sheets(health)}
    kept = [known[name] for name in ("zoo", "counts", "columns") if name in known]
    return verdict(findings(health)) + "".join(
        f"<h3>{s.title.capitalize()}</h3>{table(s)}" for s in kept
    )


def _reproduce(run: Run, found: list[Row], job: TrainingJob) -> str:
    told = [*facts(run, found), ["model shown", f"{job.title}: {job.folder}"]]
    return table(Sheet("reproduce", None, told)) + table(
        Sheet("runs", ["model", "runs in MLflow"], runs(found))
    )
