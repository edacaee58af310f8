"""Runs, metrics and data sets in MLflow.

An experiment per config name, a parent run per config content, a child run per model and seed. Runs
are found again by a tag, so that an interrupted command continues the run that it began.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training.mlflow_store import client_of, shown, told, waited
from training.results import Job, Result, flat
from training.tracked_models import log_model
from zoo_gen import TrackingError
from zoo_gen.patience import LOG

KEY = "dwszoo.key"
PARENT = "mlflow.parentRunId"
EXAMPLE_ROWS = 4
METRICS_PER_CALL = 1000  # MLflow's own limit
RETRY_SECONDS = 5.0  # a store that is away does not hold every epoch up


@dataclass(frozen=True)
class Tracking:
    """Where runs are tracked: an experiment of an MLflow store. Travels to workers.

    Attributes:
        uri: of the store.
        experiment: its id there.
        parent: id of the parent run.
    """

    uri: str
    experiment: str
    parent: str = ""

    @classmethod
    def connect(cls, uri: str, experiment: str, artifacts: Path | str | None) -> Tracking:
        """Reach the store and make the experiment: once, before workers start and race to do so.

        Args:
            uri: of the store.
            experiment: its name.
            artifacts: directory or address that artifacts go to, or None for the store's own place.

        Raises:
            TrackingError: the store cannot be reached or is not an MLflow store.
        """
        with told(uri):
            client = client_of(uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                location = artifacts.as_uri() if isinstance(artifacts, Path) else artifacts
                return cls(uri, client.create_experiment(experiment, location))
            if found.lifecycle_stage != "active":
                raise TrackingError(
                    f"the MLflow experiment {experiment!r} in {shown(uri)} was deleted; restore it "
                    f"(mlflow experiments restore -x {found.experiment_id}) or rename the config"
                )
            return cls(uri, found.experiment_id)

    def with_parent(self, name: str, key: str, params: dict[str, Any], config: str) -> Tracking:
        """The same, below the parent run of this key, which is found or made.

        Args:
            name: of the run; ``key`` is the hash of what it is.
            params: what the run was asked for; ``config`` the file's text, kept as an artifact.
        """
        with told(self.uri):
            client = client_of(self.uri)
            run = self.find(key)
            if run is None:
                run = client.create_run(self.experiment, run_name=name).info.run_id
                self._params(run, params)
                client.log_text(run, config, "config.yaml")
                client.set_tag(run, KEY, key)  # last: a run that is found is complete
            return Tracking(self.uri, self.experiment, run)

    def find(self, key: str, finished: bool = False) -> str | None:
        """Id of the run with this key (and finished), or None."""
        with told(self.uri):
            status = " and attributes.status = 'FINISHED'" if finished else ""
            runs = client_of(self.uri).search_runs(
                [self.experiment], f"tags.`{KEY}` = '{key}'{status}", max_results=1
            )
            return runs[0].info.run_id if runs else None

    def child(self, job: Job, zoo: dict[str, Any]) -> ChildRun:
        """The run of one job, found or made, set running.

        Args:
            zoo: where the job's zoo lies and how many networks it has: ``url``, ``members``.
        """
        return waited(self.uri, lambda: self._child(job, zoo))

    def _child(self, job: Job, zoo: dict[str, Any]) -> ChildRun:
        client = client_of(self.uri)
        run = self.find(job.hash8)
        if run is None:
            tags = {PARENT: self.parent, "mlflow.runName": job.title, "model": job.model}
            tags |= {"seed": str(job.seed), "zoo": job.zoo, "model_input": job.model_input}
            tags |= {"task": job.task.kind}
            run = client.create_run(self.experiment, tags=tags).info.run_id
            self._params(run, job.settings)
            self._dataset(run, job, zoo)
            client.set_tag(run, KEY, job.hash8)  # last: a run that is found is complete
        client.set_tag(run, PARENT, self.parent)
        client.set_terminated(run, "RUNNING")
        logged = client.get_metric_history(run, "val_loss")
        return ChildRun(self, run, {m.step for m in logged})

    def metrics(self, run: str) -> dict[str, float]:
        """The last value of every metric of a run."""
        with told(self.uri):
            found: dict[str, float] = client_of(self.uri).get_run(run).data.metrics
            return found

    def curve(self, run: str, metric: str) -> list[tuple[int, float]]:
        """(epoch, value) of one metric of a run."""
        with told(self.uri):
            history = client_of(self.uri).get_metric_history(run, metric)
            return sorted({m.step: m.value for m in history}.items())

    def artifact(self, name: str, data: bytes) -> None:
        """Attach a file to the parent run."""
        with told(self.uri), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            client_of(self.uri).log_artifact(self.parent, str(file))

    def end(self, status: str = "FINISHED") -> None:
        """Close the parent run and children that still run: FINISHED, FAILED or KILLED."""
        with told(self.uri):
            client = client_of(self.uri)
            still = f"tags.`{PARENT}` = '{self.parent}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([self.experiment], still):
                client.set_terminated(child.info.run_id, status)
            client.set_terminated(self.parent, status)

    def _params(self, run: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(k, str(v)) for k, v in flat(params).items()]
        client_of(self.uri).log_batch(run, params=entries)

    def _dataset(self, run: str, job: Job, zoo: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            job.zoo_name,
            job.settings["zoo"],
            "dwszoo",
            source=f'{{"uri": "{zoo["url"]}"}}',
            profile=f'{{"num_rows": {zoo["members"]}}}',
        )
        context = InputTag("mlflow.data.context", "training")
        client_of(self.uri).log_inputs(run, [DatasetInput(dataset, [context])])


class ChildRun:
    """The run of one job.

    A store that fails in the middle of a training does not end it: what could not be logged is
    kept and logged some seconds later, at the latest by `finish`, which waits for it and raises.

    Args:
        tracking: the store.
        run: id of the run.
        logged: epochs that an earlier attempt had logged.
    """

    def __init__(self, tracking: Tracking, run: str, logged: set[int]) -> None:
        self.tracking, self.run, self.logged = tracking, run, logged
        self.waiting: list[tuple[int, dict[str, float]]] = []
        self.not_before = 0.0

    def epoch(self, epoch: int, record: dict[str, float]) -> None:
        """Log the metrics of one epoch, unless an earlier attempt has."""
        if epoch not in self.logged:
            self.waiting.append((epoch, record))
            self.logged.add(epoch)
        if time.monotonic() < self.not_before:
            return
        try:
            with told(self.tracking.uri):
                self._flush()
        except TrackingError as error:
            LOG.warning("%s; the training goes on and logs it later", error)
            self.not_before = time.monotonic() + RETRY_SECONDS

    def finish(self, result: Result, model: nn.Module, theta: Tensor) -> None:
        """Log what epochs are missing, the final metrics and the model; close the run.

        Args:
            result: of the job.
            model: from ``[m, size]`` to logits, in evaluation mode.
            theta: networks; the first few become the model's input example.

        Raises:
            TrackingError: the store cannot be reached.
        """
        lacking = enumerate(result.history, start=1)
        self.waiting += [(e, record) for e, record in lacking if e not in self.logged]
        self.waiting.append((result.best_epoch, result.summary))
        waited(self.tracking.uri, self._flush)

        def close() -> None:
            log_model(self.tracking.uri, self.run, model, theta[:EXAMPLE_ROWS])
            client_of(self.tracking.uri).set_terminated(self.run, "FINISHED")

        waited(self.tracking.uri, close)

    def _flush(self) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, epoch)
            for epoch, record in self.waiting
            for name, value in record.items()
        ]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            some = metrics[start : start + METRICS_PER_CALL]
            client_of(self.tracking.uri).log_batch(self.run, metrics=some)
        self.waiting.clear()
