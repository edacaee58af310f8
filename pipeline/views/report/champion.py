"""The best model of a report, registered in MLflow as the champion of its name."""

from __future__ import annotations

from pipeline.steps import Run
from pipeline.views.report.rows import Row, best_of
from training import results
from training.tracking.registry import Registered, register
from training.tracking.store import shown
from zoo_gen import TrackingError, TrainingError


def register_best(run: Run, found: list[Row]) -> Registered:
    """Register the model that is best on validation networks, of its best seed.

    Raises:
        TrackingError: the store cannot be reached, or lacks the run.
        ModelError: the run has no model.
        TrainingError: none of the models has learned anything that could be applied.
    """
    row, job = best_of(run, found)
    if job.network.yardstick:
        raise TrainingError(
            f"{row.model} is what other models are compared with, and there is no other in this "
            "report: nothing is registered; add a model that learns"
        )
    main = run.config.task_or_default.main
    child = run.tracking.find(job.hash8, finished=True)
    if child is None:
        raise TrackingError(
            f"the run of {job.title} is not in {shown(run.tracking.uri)}; `dwszoo train` writes it "
            "there"
        )
    result = results.read(run.place.store, job)
    zoo = f"{run.facts.name}-{run.facts.hash8}"
    tags = {name: f"{value:.6g}" for name, value in result.summary.items()}
    tags |= {"zoo": zoo, "config": run.config.name, "model": job.model, "seed": str(job.seed)}
    tags |= {"task": job.task.kind, "report": run.key}
    test = main.text([result.test[main.name]])
    text = (
        f"`{job.model}`, seed {job.seed}, learned from the zoo `{zoo}`.\n\n"
        f"Test {main.heading}: {test} (this seed); {main.text(row.test[main.name])} (mean ± std of "
        f"{len(row.validation)} seeds). Chosen on validation networks.\n\n"
        f"It reads {run.facts.space} ({run.facts.space.size:,} weights)."
    )
    return register(run.tracking, child, f"{run.config.name}-{job.model}", tags, text)
