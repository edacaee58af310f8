"""The report of an experiment as a table, and as files below the root."""

from __future__ import annotations

from rich.table import Table

from pipeline.experiment import Experiment
from pipeline.views.plots import against_networks, bars, curves
from pipeline.views.provenance import provenance, run_ids
from pipeline.views.report_rows import Row
from pipeline.views.task_plots import task_plots
from training import results
from training.tasks import Metric


def cells(experiment: Experiment, found: list[Row]) -> list[dict[str, str]]:
    """The table as text: heading -> cell, for each model.

    Metrics are mean ± std over seeds; published values stand there where the config has some.
    """
    metrics = experiment.config.task_or_default.metrics
    lines = []
    for row in found:
        line = {"model": row.model}
        if experiment.config.train_on:
            line["trained on"] = f"{row.networks:,}" if row.networks else "all"
        line |= {_heading("test", m, metrics): m.text(row.test[m.name]) for m in metrics}
        line[_heading("validation", metrics[0], metrics)] = metrics[0].text(row.validation)
        line["parameters"] = f"{row.parameters:,}"
        line["networks/s"] = f"{row.networks_per_second:,.0f}"
        line["seeds"] = str(len(row.validation))
        if any(other.published for other in found):
            line["published"] = row.published or "–"
        lines.append(line)
    return lines


def _heading(split: str, metric: Metric, metrics: tuple[Metric, ...]) -> str:
    """A metric's column; the table's title names an only one."""
    return split if len(metrics) == 1 else f"{split} {metric.heading}"


def report_table(experiment: Experiment, found: list[Row]) -> Table:
    """For the terminal."""
    rows = cells(experiment, found)
    out = Table(title=title(experiment), title_justify="left")
    for i, name in enumerate(rows[0]):
        out.add_column(name, justify="left" if i == 0 else "right")
    for line in rows:
        out.add_row(*line.values())
    return out


def title(experiment: Experiment) -> str:
    """The title of the table."""
    zoo, main = experiment.facts, experiment.config.task_or_default.main
    what = f"{main.title} in {main.unit}" if main.unit else main.title
    arrow = "" if main.greater else " (less is better)"
    return (
        f"{experiment.config.name}: {what}{arrow}, mean ± std over seeds\n"
        f"{zoo.members:,} networks of {zoo.signals:,} signals, {zoo.views} each"
    )


def write_report(experiment: Experiment, found: list[Row]) -> str:
    """Write ``report.md`` and its pictures below the root and attach them to the parent run.

    Returns:
        Where ``report.md`` is stored.
    """
    store, folder = (
        experiment.environment.store,
        f"reports/{experiment.config.name}-{experiment.key}",
    )
    rows, drawn = cells(experiment, found), plots_of(experiment, found)
    lines = [f"# {experiment.config.name}", "", title(experiment).replace("\n", "; "), ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(line.values()) + " |" for line in rows]
    for name, (caption, _) in drawn.items():
        lines += ["", f"![{caption}]({name})"]
    lines += [
        "",
        f"Zoo: `{experiment.zoo_url}`",
        "",
        "## How to reproduce",
        "",
        "| what | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in provenance(experiment, found)]
    lines += ["", "| model | its runs in MLflow, by seed |", "|---|---|"]
    lines += [f"| {name} | {ids} |" for name, ids in run_ids(found)]
    lines += ["", "```yaml", experiment.text.rstrip(), "```", ""]
    files = {name: data for name, (_, data) in drawn.items()}
    for name, data in {"report.md": "\n".join(lines).encode(), **files}.items():
        store.publish(f"{folder}/{name}", data)
        experiment.tracking.artifact(name, data)
    return store.url(f"{folder}/report.md")


def plots_of(experiment: Experiment, found: list[Row]) -> dict[str, tuple[str, bytes]]:
    """File name -> caption and PNG of every plot of a report."""
    task, chance = experiment.config.task_or_default, chance_of(experiment)
    drawn = {
        f"{m.name}.png": (f"Test {m.title}", bars(found, m, chance if m == task.main else None))
        for m in task.metrics
    }
    if experiment.config.train_on:
        caption = f"Test {task.main.title} against training networks"
        drawn["networks.png"] = caption, against_networks(found, task.main)
    drawn["curves.png"] = f"Validation {task.main.title}", curves(found, task.main, chance)
    return drawn | task_plots(experiment)


def chance_of(experiment: Experiment) -> float | None:
    """The main metric of a model that guesses among classes; None where there are none."""
    if experiment.config.task_or_default.kind != "classify":
        return None
    output = results.read(experiment.environment.store, experiment.jobs[0]).output
    classes = sum(map(bool, output.get("names", ()))) or experiment.facts.classes
    return 1 / classes if classes else None
