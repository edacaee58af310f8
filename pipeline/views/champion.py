"""The best model of a report, registered in MLflow as the champion of its name."""

from __future__ import annotations

from pipeline.experiment import Experiment
from pipeline.views.report_rows import Row, best_of
from training import results
from training.tracking.registry import Registered, register
from training.tracking.store import shown
from zoo_gen import TrackingError, TrainingError


def register_best(experiment: Experiment, found: list[Row]) -> Registered:
    """Register the model that is best on validation networks, of its best seed.

    Raises:
        TrackingError: the store cannot be reached, or lacks the run.
        ModelError: the run has no model.
        TrainingError: none of the models has learned anything that could be applied.
    """
    row, job = best_of(experiment, found)
    if job.network.yardstick:
        raise TrainingError(
            f"{row.model} is a reference for other models, and this report has no other: nothing "
            "is registered; add a model that learns"
        )
    main = experiment.config.task_or_default.main
    child = experiment.tracking.find(job.hash8, finished=True)
    if child is None:
        raise TrackingError(
            f"the run of {job.title} is not in {shown(experiment.tracking.uri)}; `dwszoo train` "
            "writes it there"
        )
    result = results.read(experiment.environment.store, job)
    zoo = f"{experiment.facts.name}-{experiment.facts.hash8}"
    tags = {name: f"{value:.6g}" for name, value in result.summary.items()}
    tags |= {
        "zoo": zoo,
        "config": experiment.config.name,
        "model": job.model,
        "seed": str(job.seed),
    }
    tags |= {"task": job.task.kind, "report": experiment.key}
    test = main.text([result.test[main.name]])
    text = (
        f"`{job.model}`, seed {job.seed}, learned from the zoo `{zoo}`.\n\n"
        f"Test {main.heading}: {test} (this seed); {main.text(row.test[main.name])} (mean ± std of "
        f"{len(row.validation)} seeds). Chosen on validation networks.\n\n"
        f"It reads {experiment.facts.space} ({experiment.facts.space.size:,} weights)."
    )
    return register(experiment.tracking, child, f"{experiment.config.name}-{job.model}", tags, text)
