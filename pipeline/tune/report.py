"""What came of a search: a table, its best config as a file, pictures and one page."""

from __future__ import annotations

import base64
from html import escape

from rich.table import Table

from pipeline.config.config import written
from pipeline.tune.plots import importance, learning_curves, parallel_coordinates
from pipeline.tune.steps import Search
from pipeline.views.pages import frame
from pipeline.views.pages.sheet import Sheet
from training.search.ledger import Trial, best_of, shown
from training.search.sampler import importances
from training.tracking.store import shown as without_passwords

ROWS = 10  # of the terminal's table
OUTCOMES = 3  # columns before the values
PICTURES = {
    "curves.png": "Learning curves",
    "parallel.png": "Parallel coordinates",
    "importance.png": "Importance",
}


def ranked(search: Search, trials: list[Trial]) -> list[Trial]:
    """The best first, those without a value last."""
    sign = -1 if search.objective.greater else 1

    def place(trial: Trial) -> tuple[bool, float]:
        value = trial.best(search.objective)
        return value is None, sign * (value or 0.0)

    return sorted(trials, key=place)


def cells(search: Search, trial: Trial) -> list[str]:
    """A trial as text, in the order of `headings`."""
    value = trial.best(search.objective)
    outcome = trial.reason if trial.status == "failed" else trial.status
    told = [str(trial.number), "–" if value is None else f"{value:.4g}", str(len(trial.curve))]
    told += [shown(trial.params[d.key]) for d in search.space.dimensions]
    return [*told, outcome]


def headings(search: Search) -> list[str]:
    """Of the table of trials."""
    names = [search.short(d.key) for d in search.space.dimensions]
    return ["trial", search.objective.metric, "epochs", *names, "outcome"]


def table(search: Search, trials: list[Trial]) -> Table:
    """The best trials, for the terminal."""
    out = Table(title=title(search, trials), title_justify="left")
    for name in (*headings(search)[:OUTCOMES], "outcome", "values"):
        out.add_column(name, justify="left" if name in ("outcome", "values") else "right")
    for trial in ranked(search, trials)[:ROWS]:
        told = cells(search, trial)
        values = [
            f"{search.short(d.key)} {shown(trial.params[d.key])}" for d in search.space.dimensions
        ]
        out.add_row(*told[:OUTCOMES], told[-1], ", ".join(values))
    return out


def title(search: Search, trials: list[Trial]) -> str:
    """What was searched, and what was gained."""
    counts = {s: sum(t.status == s for t in trials) for s in ("done", "stopped", "failed")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    lines = [f"{search.run.config.name} {search.model}: {len(trials)} trials ({told})"]
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
    store, folder = search.place.store, search.folder
    where = f"# the best of {len(trials)} trials: {folder}, trial {best.number}\n"
    config = where + without_passwords(written(search.best_config(best)))
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
    heading, *rest = title(search, trials).split("\n")
    parts = [f'<p class="lead">{escape(line)}</p>' for line in rest]
    for name, caption in PICTURES.items():
        data = base64.b64encode(files[name]).decode()
        picture = f'<img class="plot" src="data:image/png;base64,{data}" alt="{caption}">'
        parts.append(frame.section(caption, picture))
    rows = [cells(search, trial) for trial in ranked(search, trials)]
    parts.append(
        frame.section(
            "Trials, the best first", frame.table(Sheet("trials", headings(search), rows))
        )
    )
    parts.append(frame.section("Best config", f"<pre>{escape(files['best.yaml'].decode())}</pre>"))
    parts.append(frame.section("The search", f"<pre>{escape(search.run.text)}</pre>"))
    return frame.document(heading, f"{search.run.config.name}, a search", "tune", parts)
