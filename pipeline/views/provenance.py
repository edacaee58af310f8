"""Where the numbers of a report come from: command, code, machine, date, MLflow runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline.experiment import Experiment
from pipeline.views.report_rows import Row
from training.tracking.store import shown

CHANGED = ", with changes that are not committed"


def provenance(experiment: Experiment, found: list[Row]) -> list[list[str]]:
    """Name and value of what led to the numbers, from the tags of the trainings' own runs."""
    ids = [child for row in found for child in row.runs]
    origins = [experiment.tracking.origin(child) for child in ids]
    days, tags = sorted(day for day, _ in origins), [tags for _, tags in origins]
    limit = f" --limit {experiment.config.limit}" if experiment.config.limit else ""
    return [
        ["command", f"dwszoo run {experiment.config.name}.yaml{limit}"],
        ["config", "the one here, saved as a file of that name; it holds every change by --set"],
        ["zoo", f"{experiment.facts.name}-{experiment.facts.hash8}"],
        ["trained", days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"],
        ["code", _each(map(_code, tags))],
        ["versions", _each(map(_versions, tags))],
        ["host", _each(t.get("host", "unknown") for t in tags)],
        ["seeds", ", ".join(map(str, experiment.config.seeds))],
        [
            "MLflow",
            f"{shown(experiment.tracking.uri)}, experiment {experiment.config.name}, parent run "
            f"{experiment.tracking.parent}",
        ],
    ]


def run_ids(found: list[Row]) -> list[list[str]]:
    """Each row's name, and its runs in MLflow, seed by seed."""
    return [[row.name, ", ".join(row.runs)] for row in found]


def _code(tags: dict[str, str]) -> str:
    commit = tags.get("mlflow.source.git.commit", "an installed package")
    return commit + (CHANGED if tags.get("mlflow.source.git.dirty") == "true" else "")


def _versions(tags: dict[str, str]) -> str:
    versions = {k.removeprefix("version."): v for k, v in tags.items() if k.startswith("version.")}
    return ", ".join(f"{name} {value}" for name, value in versions.items())


def _each(values: Iterable[str]) -> str:
    """The value of all runs; where they differ each, and of how many."""
    all_of = list(values)
    counted = Counter(all_of)
    if len(counted) == 1:
        return all_of[0]
    return "; ".join(f"{value} ({n} of {len(all_of)} runs)" for value, n in counted.items())
