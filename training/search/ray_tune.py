"""A search on Ray Tune, in the driver.

Tune places trials, and its ASHA stops those that fall behind. Which trial is next, and what is
recorded of it, is the `TrialQueue`'s. Trials run in worker processes that are reused for the next
trial, since starting one costs seconds.
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
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from training.ray_train import storage
from training.search.queue import TrialQueue
from training.search.ray_worker import EPOCH, FAILED, LAST, RECORD, SCORE, TRIAL, TrialRunner
from training.search.settings import Objective, Tuning
from training.search.space import Params
from training.search.trials import Trial
from zoo_gen import EngineError

MAX_DEATHS = 3
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # three files per trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command as it ends any other
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails reports its reason alone
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # the trials' own records are used instead
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
OnEnd = Callable[[Trial, list[dict[str, float]]], None]
"""Called when a trial has ended, with the records of its epochs."""


def search(
    queue: TrialQueue,
    runner: TrialRunner,
    settings: Tuning,
    epochs: int,
    default: Params,
    on_end: OnEnd,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Run trials on the Ray session that is there, until the queue is empty.

    Args:
        queue: gives out the trials.
        runner: runs them in workers.
        settings: how the search is made.
        epochs: of the longest trial.
        default: values of a trial that ASHA must not stop.
        on_end: called when a trial has ended.
        progress: called several times a second.

    Raises:
        EngineError: Ray Tune itself failed.
        DwszooError: what the queue or ``on_end`` raises as a trial ends.
    """
    place = f"{runner.folder}/ray"
    runner.store.remove(place)
    path, filesystem = storage(runner.store, place)
    watcher = _Watcher(queue, on_end, progress)
    with _quiet(), _in_started_workers():
        try:
            tune.run(
                tune.with_resources(runner.run, runner.resources),
                name=uuid.uuid4().hex,
                metric=SCORE,
                mode=runner.objective.mode,
                scheduler=scheduler(settings, runner.objective, epochs, default, queue.ended),
                search_alg=_Next(queue),
                num_samples=2**31,  # the queue knows when it is enough
                # one more waits, so that a worker that has ended a trial is reused for the next
                max_concurrent_trials=settings.at_once or max(1, runner.slots) + 1,
                reuse_actors=runner.workers == 1,
                max_failures=MAX_DEATHS,
                raise_on_failed_trial=False,
                callbacks=[watcher],
                stop=_Stopper(queue, watcher),
                storage_path=path,
                storage_filesystem=filesystem,
                verbose=0,
            )
        except tune.TuneError as error:
            raise EngineError(f"Ray Tune failed: {str(error).strip().splitlines()[-1]}") from error
        finally:
            queue.record_time(force=True)
    if watcher.failure is not None:
        raise watcher.failure
    runner.store.remove(place)


def scheduler(
    settings: Tuning, objective: Objective, epochs: int, default: Params, ended: list[Trial]
) -> TrialScheduler:
    """ASHA, or none for a random search.

    Args:
        settings: of the search.
        objective: of the search.
        epochs: of the longest trial.
        default: values of a trial that is not stopped: the others are compared to its end.
        ended: trials of earlier commands, whose epochs count as if they had just been reported.
    """
    if settings.method == "random":
        return FIFOScheduler()
    asha = _Halving(
        metric=SCORE,
        mode=objective.mode,
        time_attr=EPOCH,
        max_t=epochs + 1,  # a trial ends by itself
        grace_period=min(settings.min_epochs, epochs),
        reduction_factor=settings.reduction,
    )
    asha.default = default
    for trial in ended:
        past: Any = SimpleNamespace(
            trial_id=f"ended-{trial.number}", config={TRIAL: {"params": trial.params}}
        )
        nobody: Any = None  # is asked
        asha.on_trial_add(nobody, past)
        for i, (epoch, _) in enumerate(trial.curve, start=1):
            best = objective.best([value for _, value in trial.curve[:i]])
            if best is not None:
                asha.on_trial_result(nobody, past, {EPOCH: epoch, SCORE: best})
        asha.on_trial_remove(nobody, past)
    return asha


class _Halving(ASHAScheduler):
    """ASHA, but the trial with the config's own values is trained to its end."""

    default: Params

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Metric and mode are set already, as earlier trials were reported with them."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        spared = trial.config[TRIAL]["params"] == self.default
        return TrialScheduler.CONTINUE if spared else decision


class _Next(Searcher):
    """The queue as Ray Tune asks for the next trial."""

    def __init__(self, queue: TrialQueue) -> None:
        super().__init__(metric=SCORE, mode=queue.sampler.objective.mode)
        self.queue = queue

    def suggest(self, trial_id: str) -> Any:
        trial = self.queue.next()
        if trial is None:
            return Searcher.FINISHED
        return {TRIAL: {"number": trial.number, "params": trial.params}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the queue has it from `_Watcher`."""

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the trials' records are what is restored."""


class _Watcher(tune.Callback):
    """Collects the epochs of running trials and records each trial's end.

    Attributes:
        failure: why the search cannot go on. Not raised where it arises: Tune would take it for
            the trial's own failure, and train that again.
    """

    def __init__(self, queue: TrialQueue, on_end: OnEnd, progress: Callable[[], None]) -> None:
        self.queue, self.on_end, self.progress = queue, on_end, progress
        self.records: dict[int, dict[int, dict[str, float]]] = {}
        self.began: dict[int, float] = {}
        self.failure: Exception | None = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.queue.record_time()
        self.progress()
        for trial in trials:
            number = trial.config[TRIAL]["number"]
            if trial.status == "ERROR" and not self.queue.trials[number].ended:
                self.failure = self.failure or EngineError(
                    f"Ray Tune gave up trial {number}: the worker that was to run it did not leave "
                    "its previous trial; the same command continues the search"
                )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began.setdefault(trial.config[TRIAL]["number"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if EPOCH in result:  # an epoch is reported again after its worker died
            records = self.records.setdefault(trial.config[TRIAL]["number"], {})
            records[result[EPOCH]] = result[RECORD]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        if FAILED in result:
            self._end(trial, "failed", result[FAILED])
        elif result or trial.config[TRIAL]["number"] in self.records:
            self._end(trial, "done" if result.get(LAST) else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = f"its worker died {MAX_DEATHS + 1} times, often for want of memory"
        self._end(trial, "failed", reason)

    def _end(
        self, trial: Any, status: Literal["done", "stopped", "failed"], reason: str = ""
    ) -> None:
        number = trial.config[TRIAL]["number"]
        known = self.queue.trials[number]
        # Tune may end a trial twice; after a failure, running ones are to be continued next time
        if known.ended or self.failure is not None:
            return
        records = sorted(self.records.pop(number, {}).items())
        metric = self.queue.sampler.objective.metric
        curve = tuple((epoch, float(record[metric])) for epoch, record in records)
        seconds = known.seconds + time.monotonic() - self.began.pop(number, time.monotonic())
        ended = replace(known, status=status, curve=curve, seconds=seconds, reason=reason)
        try:
            self.on_end(self.queue.end(ended), [record for _, record in records])
        except Exception as error:
            self.failure = error


class _Stopper(tune.Stopper):
    """Stops each trial at its next epoch when the minutes are over, and all after a failure."""

    def __init__(self, queue: TrialQueue, watcher: _Watcher) -> None:
        self.queue, self.watcher = queue, watcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves what it was given, and nobody reads that."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.queue.out_of_time

    def stop_all(self) -> bool:
        """Not when the minutes are over: Tune would end trials without a call to the watcher."""
        return self.watcher.failure is not None


@contextmanager
def _in_started_workers() -> Iterator[None]:
    """Let trials run in processes that Ray has started already.

    Tune gives its actors an environment of their own, for PyTorch Lightning alone, and Ray would
    start other processes for it.
    """
    with patch.dict(getattr(class_cache, "DEFAULT_ENV_VARS", {}), clear=True):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune without its own output, files and signal handlers."""
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
