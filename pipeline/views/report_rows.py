"""The numbers of a report, read from the tracking store: a row per model."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from pipeline.experiment import Experiment
from pipeline.other_settings import options_to_others
from training import results
from training.jobs import TrainingJob
from training.tracking.store import shown
from zoo_gen import TrackingError, TrainingError


@dataclass(frozen=True)
class Row:
    """One model over its seeds, on one number of training networks.

    Attributes:
        model: its name.
        networks: that it was trained on, None for all.
        test: metric -> value on the test split per seed, of the best validation epoch, evaluated
            once.
        validation: the main metric of that epoch per seed.
        parameters: of the model.
        networks_per_second: mean over the training, of its workers together.
        curves: per seed, (epoch, main metric on validation networks).
        runs: ids of the seeds' runs in MLflow.
        published: a result of others, as text.
    """

    model: str
    networks: int | None
    test: dict[str, list[float]]
    validation: list[float]
    parameters: int
    networks_per_second: float
    curves: list[list[tuple[int, float]]]
    runs: list[str]
    published: str = ""

    @property
    def name(self) -> str:
        """Model, and the number of networks where it is one of several."""
        return self.model if self.networks is None else f"{self.model}, {self.networks:,}"


def report_rows(experiment: Experiment) -> list[Row]:
    """The table's rows, every number read from the tracking store.

    Raises:
        TrainingError: models are not trained.
        TrackingError: the store cannot be reached.
    """
    require_trained(experiment)
    tracking, task = experiment.tracking, experiment.config.task_or_default
    found = []
    for key in dict.fromkeys((job.model, job.networks) for job in experiment.jobs):
        mine = [job for job in experiment.jobs if (job.model, job.networks) == key]
        children = [tracking.find(job.hash8, finished=True) for job in mine]
        ids = [child for child in children if child is not None]
        if len(ids) < len(children):
            raise TrackingError(
                f"{len(children) - len(ids)} of {len(children)} runs of {key[0]} are not in "
                f"{shown(tracking.uri)}; `dwszoo train` with the same config and options writes "
                "them there"
            )
        metrics = [tracking.metrics(child) for child in ids]
        found.append(
            Row(
                *key,
                {m.name: [values[f"test_{m.name}"] for values in metrics] for m in task.metrics},
                [values[f"best_val_{task.main.name}"] for values in metrics],
                int(metrics[0]["parameters"]),
                statistics.mean(values["mean_networks_per_second"] for values in metrics),
                [tracking.curve(child, f"val_{task.main.name}") for child in ids],
                ids,
                experiment.config.models[key[0]].published,
            )
        )
    return found


def require_trained(experiment: Experiment) -> None:
    """Raise `TrainingError` unless every job has a result."""
    store = experiment.environment.store
    lacking = [job for job in experiment.jobs if not results.done(store, job)]
    if not lacking:
        return
    name, jobs = experiment.config.name, experiment.jobs
    problem = f"{len(lacking)} of {len(jobs)} models are not trained (first: {lacking[0].title})"
    if options := options_to_others(experiment):
        raise TrainingError(
            f"{problem}, but {store.root} has those of {name} with other settings: to report them "
            f"{options}; to train these run `dwszoo train` with the same config and options"
        )
    raise TrainingError(f"{problem}; run `dwszoo train` with the same config and options")


def best_of(experiment: Experiment, found: list[Row]) -> tuple[Row, TrainingJob]:
    """The model with the best mean validation score, and its seed with the best one.

    References that do not learn are left out, unless there is nothing else.
    """
    main = experiment.config.task_or_default.main
    references = {job.model for job in experiment.jobs if job.network.yardstick}
    learned = [row for row in found if row.model not in references]
    row = max(learned or found, key=lambda r: main.merit(statistics.mean(r.validation)))
    mine = [j for j in experiment.jobs if (j.model, j.networks) == (row.model, row.networks)]
    scores = [main.merit(value) for value in row.validation]
    return row, mine[scores.index(max(scores))]
