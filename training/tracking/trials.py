"""Trials of a search in MLflow: children of the search's run, written as they end.

The driver writes them, from a thread of its own: workers of short trials would spend more time on
it than on the trial, and a store that is slow or away does not hold the search up.
"""

from __future__ import annotations

import itertools
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from training.search.settings import Objective
from training.search.trials import Trial
from training.tracking.metrics import METRICS_PER_CALL
from training.tracking.runs import BEGUN, PARENT, Tracking
from training.tracking.store import client_of, store_errors, waited
from training.tracking.tags import run_tags
from zoo_gen import TrackingError
from zoo_gen.log import LOG

TRIAL, STATUS, REASON = "trial", "status", "reason"
REASON_LENGTH = 500


class TrackedTrials:
    """The children of one search.

    Args:
        tracking: with the search's run as parent.
        model: that the search trains.
        objective: of the search.
    """

    def __init__(self, tracking: Tracking, model: str, objective: Objective) -> None:
        self.tracking, self.model, self.objective = tracking, model, objective
        self.pool = ThreadPoolExecutor(1)
        self.writing: list[Future[None]] = []

    def known(self) -> set[int]:
        """Numbers of the trials that are there; what was begun and not written whole is removed.

        Raises:
            TrackingError: the store cannot be reached.
        """
        found: set[int] = set()
        left: list[str] = []
        with store_errors(self.tracking.uri):
            client, token = client_of(self.tracking.uri), None
            query = f"tags.`{PARENT}` = '{self.tracking.parent}'"
            while True:
                page = client.search_runs([self.tracking.experiment], query, page_token=token)
                for run in page:
                    tags = run.data.tags
                    if TRIAL in tags and run.info.status != "RUNNING":
                        found.add(int(tags[TRIAL]))
                    elif TRIAL in tags or BEGUN in tags:
                        left.append(run.info.run_id)
                if not (token := page.token):
                    break
            for run_id in left:  # not before: the next page is counted from the first run
                client.delete_run(run_id)
            return found

    def put(self, trial: Trial, records: list[dict[str, float]]) -> None:
        """Write a trial that has ended, soon.

        Args:
            trial: with what became of it.
            records: of its epochs; if there are none, its curve is written.
        """
        if not records:
            records = [{self.objective.metric: value} for _, value in trial.curve]
        self.writing = [f for f in self.writing if not f.done() or f.exception()]
        self.writing.append(self.pool.submit(self._write, trial, records))

    def close(self, best: Trial | None = None) -> None:
        """Wait until all is written, and log the best trial in the search's run."""
        self.pool.shutdown(wait=True)
        for future in self.writing:
            if isinstance(error := future.exception(), TrackingError):
                LOG.warning("%s; the same command writes the trials that are missing", error)
                break
            if error is not None:
                raise error
        self.writing = []
        if best is not None:
            self._tell_best(best)

    def _write(self, trial: Trial, records: list[dict[str, float]]) -> None:
        attempts = itertools.count()

        def once() -> None:
            # this thread alone writes: what is not whole is of the attempt before
            if next(attempts) == 0 or trial.number not in self.known():
                self._create(trial, records)

        waited(self.tracking.uri, once)

    def _create(self, trial: Trial, records: list[dict[str, float]]) -> None:
        from mlflow.entities import Metric, Param

        client, now = client_of(self.tracking.uri), int(time.time() * 1000)
        name = f"trial {trial.number}"
        tags = {BEGUN: name, PARENT: self.tracking.parent, "mlflow.runName": name}
        tags |= {STATUS: trial.status, "model": self.model, **run_tags()}
        if trial.reason:
            tags[REASON] = trial.reason[:REASON_LENGTH]
        began = now - int(1000 * trial.seconds)
        run = client.create_run(self.tracking.experiment, start_time=began, tags=tags)
        metrics = [
            Metric(name, value, now, epoch)
            for epoch, record in enumerate(records, start=1)
            for name, value in record.items()
            if math.isfinite(value)
        ]
        if (best := trial.best(self.objective)) is not None:
            metrics.append(Metric(f"best_{self.objective.metric}", best, now, len(records)))
        params = [Param(key, str(value)) for key, value in trial.params.items()]
        client.log_batch(run.info.run_id, params=params)
        for start in range(0, len(metrics), METRICS_PER_CALL):
            some = metrics[start : start + METRICS_PER_CALL]
            client.log_batch(run.info.run_id, metrics=some)
        status = "FAILED" if trial.status == "failed" else "FINISHED"
        client.set_terminated(run.info.run_id, status)
        client.set_tag(run.info.run_id, TRIAL, str(trial.number))  # last: one that has it is whole

    def _tell_best(self, best: Trial) -> None:
        def log_best() -> Any:
            client, run = client_of(self.tracking.uri), self.tracking.parent
            value = best.best(self.objective)
            assert value is not None
            client.log_metric(run, f"best_{self.objective.metric}", value)
            client.set_tag(run, "best_trial", str(best.number))

        waited(self.tracking.uri, log_best)
