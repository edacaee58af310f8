"""A search on Ray: the one door to Ray Tune.

Tune places trials, stops those that fall behind and lets a population exchange. Which trial is
next, and what is kept of it, is `training.search`'s: Tune's own snapshots are old when a driver
dies, and hold neither what ASHA has seen nor a population's state. Trials run in worker processes
that are used again for the next one, since to start one costs seconds.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from training.ray_train import storage
from training.search.ledger import Trial
from training.search.plan import Plan
from training.search.ray_trial import EPOCH, FAILED, LAST, RECORDS, SCORE, TRIAL, Bench, trial_of
from training.search.schedulers import scheduler
from training.search.settings import Objective, Tuning
from training.search.space import Space
from zoo_gen import EngineError

MAX_DEATHS = 3
STATES_KEPT = 4  # of each member of a population
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # three files per trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command as it ends any other
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails reports its reason alone
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # the ledger is kept instead
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
Told = Callable[[Trial, list[dict[str, float]]], None]
"""Called when a trial has ended, with the records of its epochs."""


def search(
    plan: Plan,
    bench: Bench,
    space: Space,
    settings: Tuning,
    epochs: int,
    told: Told,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Run trials on the Ray session that is there, until the plan has none.

    Args:
        plan: hands trials out.
        bench: what their workers are told.
        space: of the search.
        settings: how it is made.
        epochs: of the longest trial.
        told: called when a trial has ended.
        progress: called several times a second.

    Raises:
        EngineError: Ray Tune itself failed.
        DwszooError: what the ledger or the tracking raise as a trial ends.
    """
    place = f"{bench.folder}/ray"
    bench.store.remove(place)
    path, filesystem = storage(bench.store, place)
    watcher = _Watcher(plan, bench.objective, told, progress)
    with _quiet():
        try:
            tune.run(
                tune.with_resources(trial_of(bench), bench.resources),
                name=uuid.uuid4().hex,
                metric=SCORE,
                mode=bench.objective.mode,
                scheduler=scheduler(space, settings, bench.objective, epochs, plan.ended),
                **_asked(plan, bench, settings),
                reuse_actors=bench.workers == 1,
                max_failures=MAX_DEATHS,
                raise_on_failed_trial=False,
                callbacks=[watcher],
                stop=_Clock(plan, watcher),
                checkpoint_config=tune.CheckpointConfig(
                    num_to_keep=STATES_KEPT if bench.population else None
                ),
                storage_path=path,
                storage_filesystem=filesystem,
                verbose=0,
            )
        except tune.TuneError as error:
            raise EngineError(f"Ray Tune failed: {str(error).strip().splitlines()[-1]}") from error
        finally:
            plan.note_time(force=True)
    if watcher.failure is not None:
        raise watcher.failure
    bench.store.remove(place)


def _asked(plan: Plan, bench: Bench, settings: Tuning) -> dict[str, Any]:
    """Where Tune takes its trials from."""
    if bench.population:  # all of them at once; they train in turns where there is no room
        members = []
        while (trial := plan.next()) is not None:
            members.append(_config(trial))
        return {"config": {TRIAL: tune.grid_search([member[TRIAL] for member in members])}}
    # one more waits, so that a worker that has ended a trial finds the next one and is used again
    return {
        "search_alg": _Next(plan, bench.objective),
        "num_samples": 2**31,  # the plan knows when it is enough
        "max_concurrent_trials": settings.at_once or max(1, bench.slots) + 1,
    }


def _config(trial: Trial) -> dict[str, Any]:
    """A trial as Tune's config."""
    return {TRIAL: {"number": trial.number, "params": trial.params}}


class _Next(Searcher):
    """What Ray Tune asks for the next trial: the plan."""

    def __init__(self, plan: Plan, objective: Objective) -> None:
        super().__init__(metric=SCORE, mode=objective.mode)
        self.plan = plan

    def suggest(self, trial_id: str) -> Any:
        """The next trial as Tune's config."""
        trial = self.plan.next()
        if trial is None:
            return Searcher.FINISHED
        return _config(trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the watcher tells the plan."""

    def save(self, checkpoint_path: str) -> None:
        """An empty file: the ledger is what is kept."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what is kept."""


class _Watcher(tune.Callback):
    """Tells the plan what became of trials."""

    def __init__(
        self, plan: Plan, objective: Objective, told: Told, progress: Callable[[], None]
    ) -> None:
        self.plan, self.objective, self.told, self.progress = plan, objective, told, progress
        self.records: dict[int, dict[int, dict[str, float]]] = {}
        self.began: dict[int, float] = {}
        # Tune would take it for the trial's own, and train that again
        self.failure: Exception | None = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.plan.note_time()
        self.progress()
        for trial in trials:
            if trial.status == "ERROR":
                self._require_end(trial.config[TRIAL]["number"])

    def _require_end(self, number: int) -> None:
        """Fail if Tune has given a trial up without telling, as where no worker is free for it."""
        if self.failure is None and not self.plan.trials[number].ended:
            self.failure = EngineError(
                f"Ray Tune gave up trial {number}: the worker that was to do it did not leave the "
                "trial before; the same command continues the search"
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began.setdefault(trial.config[TRIAL]["number"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        number = trial.config[TRIAL]["number"]
        if EPOCH in result:
            # a member of a population tells all: it may have become another, with that one's past
            first = result[EPOCH] - len(result[RECORDS]) + 1
            kept = {e: r for e, r in self.records.get(number, {}).items() if e < first}
            self.records[number] = {**kept, **dict(enumerate(result[RECORDS], start=first))}
        known = self.plan.trials[number]
        if trial.config[TRIAL]["params"] != known.params:
            self.plan.keep(replace(known, params=dict(trial.config[TRIAL]["params"])))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        if FAILED in result:
            self._end(trial, "failed", result[FAILED])
        elif result or trial.config[TRIAL]["number"] in self.records:
            self._end(trial, "done" if result.get(LAST) else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = f"its worker died {MAX_DEATHS + 1} times, often for want of memory"
        self._end(trial, "failed", reason)

    def _end(self, trial: Any, status: Any, reason: str = "") -> None:
        number = trial.config[TRIAL]["number"]
        # Tune may end a trial twice; after a failure, those that run are to go on next time
        if self.plan.trials[number].ended or self.failure is not None:
            return
        records = sorted(self.records.pop(number, {}).items())
        curve = tuple((e, float(r[self.objective.metric])) for e, r in records)
        known = self.plan.trials[number]
        seconds = known.seconds + time.monotonic() - self.began.pop(number, time.monotonic())
        ended = replace(known, status=status, curve=curve, seconds=seconds, reason=reason)
        try:
            self.told(self.plan.end(ended), [record for _, record in records])
        except Exception as error:
            self.failure = error


class _Clock(tune.Stopper):
    """Ends each trial at its next epoch when the search's minutes are over, all after a failure."""

    def __init__(self, plan: Plan, watcher: _Watcher) -> None:
        self.plan, self.watcher = plan, watcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes down what it was given, and nobody reads that."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.plan.late

    def stop_all(self) -> bool:
        """After a failure alone: it does not tell the watcher."""
        return self.watcher.failure is not None


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune without its own words, files and signals."""
    before = {key: os.environ.get(key) for key in QUIET}
    os.environ.update(QUIET)
    loggers = [logging.getLogger(f"ray.{name}") for name in ("tune", "train", "air")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
