"""What was tracked, as a table and pictures."""

from __future__ import annotations

from rich.table import Table

from pipeline.steps import Run
from pipeline.views.report.plots import against_networks, bars, curves
from pipeline.views.report.provenance import facts, runs
from pipeline.views.report.rows import Row
from pipeline.views.report.task_pictures import task_pictures
from training import results
from training.tasks import Metric


def cells(run: Run, found: list[Row]) -> list[dict[str, str]]:
    """The table as text: a row per model, heading -> cell.

    Metrics are mean ± std over seeds; published values stand there where the config tells some.
    """
    metrics = run.config.task_or_default.metrics
    told = []
    for row in found:
        line = {"model": row.model}
        if run.config.train_on:
            line["trained on"] = f"{row.networks:,}" if row.networks else "all"
        line |= {_heading("test", m, metrics): m.text(row.test[m.name]) for m in metrics}
        line[_heading("validation", metrics[0], metrics)] = metrics[0].text(row.validation)
        line["parameters"] = f"{row.parameters:,}"
        line["networks/s"] = f"{row.networks_per_second:,.0f}"
        line["seeds"] = str(len(row.validation))
        if any(other.published for other in found):
            line["published"] = row.published or "–"
        told.append(line)
    return told


def _heading(split: str, metric: Metric, metrics: tuple[Metric, ...]) -> str:
    """A metric's column; the table's title names an only one."""
    return split if len(metrics) == 1 else f"{split} {metric.heading}"


def table(run: Run, found: list[Row]) -> Table:
    """For the terminal."""
    told = cells(run, found)
    out = Table(title=title(run), title_justify="left")
    for i, name in enumerate(told[0]):
        out.add_column(name, justify="left" if i == 0 else "right")
    for line in told:
        out.add_row(*line.values())
    return out


def title(run: Run) -> str:
    """What the table is of."""
    zoo, main = run.facts, run.config.task_or_default.main
    what = f"{main.title} in {main.unit}" if main.unit else main.title
    arrow = "" if main.greater else " (less is better)"
    return (
        f"{run.config.name}: {what}{arrow}, mean ± std over seeds\n"
        f"{zoo.members:,} networks of {zoo.signals:,} signals, {zoo.views} each"
    )


def write(run: Run, found: list[Row]) -> str:
    """Write ``report.md`` and its pictures below the root and attach them to the parent run.

    Returns:
        Where ``report.md`` lies.
    """
    store, folder = run.place.store, f"reports/{run.config.name}-{run.key}"
    told, drawn = cells(run, found), pictures(run, found)
    lines = [f"# {run.config.name}", "", title(run).replace("\n", "; "), ""]
    lines += ["| " + " | ".join(told[0]) + " |", "|" + "---|" * len(told[0])]
    lines += ["| " + " | ".join(line.values()) + " |" for line in told]
    for name, (caption, _) in drawn.items():
        lines += ["", f"![{caption}]({name})"]
    lines += ["", f"Zoo: `{run.zoo_url}`", "", "## How to reproduce", "", "| what | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts(run, found)]
    lines += ["", "| model | its runs in MLflow, by seed |", "|---|---|"]
    lines += [f"| {name} | {ids} |" for name, ids in runs(found)]
    lines += ["", "```yaml", run.text.rstrip(), "```", ""]
    files = {name: data for name, (_, data) in drawn.items()}
    for name, data in {"report.md": "\n".join(lines).encode(), **files}.items():
        store.publish(f"{folder}/{name}", data)
        run.tracking.artifact(name, data)
    return store.url(f"{folder}/report.md")


def pictures(run: Run, found: list[Row]) -> dict[str, tuple[str, bytes]]:
    """File name -> caption and PNG of every picture of a report."""
    task, chance = run.config.task_or_default, chance_of(run)
    drawn = {
        f"{m.name}.png": (f"Test {m.title}", bars(found, m, chance if m == task.main else None))
        for m in task.metrics
    }
    if run.config.train_on:
        caption = f"Test {task.main.title} against training networks"
        drawn["networks.png"] = caption, against_networks(found, task.main)
    drawn["curves.png"] = f"Validation {task.main.title}", curves(found, task.main, chance)
    return drawn | task_pictures(run)


def chance_of(run: Run) -> float | None:
    """The main metric of a model that guesses among classes; None where there are none."""
    if run.config.task_or_default.kind != "classify":
        return None
    output = results.read(run.place.store, run.jobs[0]).output
    classes = sum(map(bool, output.get("names", ()))) or run.facts.classes
    return 1 / classes if classes else None
