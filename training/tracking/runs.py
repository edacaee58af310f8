"""Runs, metrics and data sets in MLflow.

An experiment per config name, a parent run per config content, a child run per model and seed. Runs
are found again by a tag, so that an interrupted command continues the run that it began.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from training.jobs import TrainingJob
from training.results import Result, flat
from training.tracking.metrics import MetricWriter
from training.tracking.models import TrackedModel, log_model
from training.tracking.store import alone, client_of, fluent, shown, store_errors, waited
from training.tracking.tags import run_tags
from zoo_gen import TrackingError

KEY = "dwszoo.key"
BEGUN = "dwszoo.begun"
PARENT = "mlflow.parentRunId"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # MLflow's page shows training first
PARAMS_PER_CALL = 100  # MLflow's own limit


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
        with store_errors(uri), alone(uri):
            client = client_of(uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                location = artifacts.as_uri() if isinstance(artifacts, Path) else artifacts
                return cls(uri, client.create_experiment(experiment, location, KIND))
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
        with store_errors(self.uri):
            client = client_of(self.uri)
            run = self.find(key)
            if run is None:
                made = client.create_run(self.experiment, run_name=name, tags=run_tags())
                run = made.info.run_id
                self._params(run, params)
                client.log_text(run, config, "config.yaml")
                client.set_tag(run, KEY, key)  # last: a run that is found is complete
            return Tracking(self.uri, self.experiment, run)

    def find(self, key: str, finished: bool = False) -> str | None:
        """Id of the run with this key (and finished), or None."""
        with store_errors(self.uri):
            status = " and attributes.status = 'FINISHED'" if finished else ""
            return self._tagged(f"tags.`{KEY}` = '{key}'{status}")

    def _tagged(self, query: str) -> str | None:
        found = client_of(self.uri).search_runs([self.experiment], query, max_results=1)
        return found[0].info.run_id if found else None

    def configs(self, most: int) -> list[str]:
        """Texts of the configs of which a model was trained, the latest first, at most so many."""
        with store_errors(self.uri), fluent(self.uri) as mlflow:
            query = f"tags.seed != '' and tags.`{PARENT}` != '' and attributes.status = 'FINISHED'"
            ended = client_of(self.uri).search_runs([self.experiment], query)
            parents = dict.fromkeys(run.data.tags[PARENT] for run in ended)
            return [
                mlflow.artifacts.load_text(f"runs:/{parent}/config.yaml")
                for parent in list(parents)[:most]
            ]

    def child(self, job: TrainingJob, zoo: dict[str, Any]) -> ChildRun:
        """The run of one job, found or made, set running.

        Args:
            zoo: where the job's zoo lies and how many networks it has: ``url``, ``members``.
        """
        run = waited(self.uri, lambda: self.find(job.hash8)) or self._begin(job, zoo)
        return waited(self.uri, lambda: self._resumed(run))

    def _begin(self, job: TrainingJob, zoo: dict[str, Any]) -> str:
        """The run of a job that has none, described.

        Each step may be asked twice: the answer may be lost, or this process. A run that was begun
        is found by a tag and gone on with, all other steps write what is there already.
        """
        client = client_of(self.uri)
        tags = {BEGUN: job.hash8, PARENT: self.parent, "mlflow.runName": job.title}
        tags |= {"model": job.model, "seed": str(job.seed), "model_input": job.model_input}
        tags |= {
            "zoo": job.zoo,
            "task": job.task.kind,
            "zoo_hash": job.settings["zoo"],
            **run_tags(),
        }

        def begun() -> str:
            if (found := self._tagged(f"tags.`{BEGUN}` = '{job.hash8}'")) is not None:
                return found
            made: str = client.create_run(self.experiment, tags=tags).info.run_id
            return made

        run = waited(self.uri, begun)
        waited(self.uri, lambda: self._params(run, job.settings))
        waited(self.uri, lambda: self._dataset(run, job, zoo))
        # last: a run that is found is complete
        waited(self.uri, lambda: client.set_tag(run, KEY, job.hash8))
        return run

    def _resumed(self, run: str) -> ChildRun:
        """A run that is set running, with what it has logged."""
        client = client_of(self.uri)
        client.set_tag(run, PARENT, self.parent)
        client.set_terminated(run, "RUNNING")
        logged = client.get_metric_history(run, "val_loss")
        began = client.get_run(run).info.start_time / 1000
        return ChildRun(self, run, {m.step for m in logged}, began)

    def metrics(self, run: str) -> dict[str, float]:
        """The last value of every metric of a run."""
        with store_errors(self.uri):
            found: dict[str, float] = client_of(self.uri).get_run(run).data.metrics
            return found

    def origin(self, run: str) -> tuple[str, dict[str, str]]:
        """The day on which a run began, YYYY-MM-DD, and its tags: code, versions, host."""
        with store_errors(self.uri):
            found = client_of(self.uri).get_run(run)
            began = datetime.fromtimestamp(found.info.start_time / 1000)
            return f"{began:%Y-%m-%d}", dict(found.data.tags)

    def curve(self, run: str, metric: str) -> list[tuple[int, float]]:
        """(epoch, value) of one metric of a run."""
        with store_errors(self.uri):
            history = client_of(self.uri).get_metric_history(run, metric)
            return sorted({m.step: m.value for m in history}.items())

    def artifact(self, name: str, data: bytes, run: str | None = None) -> None:
        """Attach a file to a run, or to the parent."""
        with store_errors(self.uri), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            client_of(self.uri).log_artifact(run or self.parent, str(file))

    def end(self, status: str = "FINISHED") -> None:
        """Close the parent run and children that still run: FINISHED, FAILED or KILLED."""
        with store_errors(self.uri):
            client = client_of(self.uri)
            still = f"tags.`{PARENT}` = '{self.parent}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([self.experiment], still):
                client.set_terminated(child.info.run_id, status)
            client.set_terminated(self.parent, status)

    def _params(self, run: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(k, str(v)) for k, v in flat(params).items()]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            some = entries[start : start + PARAMS_PER_CALL]
            client_of(self.uri).log_batch(run, params=some)

    def _dataset(self, run: str, job: TrainingJob, zoo: dict[str, Any]) -> None:
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

    Nothing here holds a training up but its begin and its end: metrics of epochs are written from
    another thread (`MetricWriter`), and a store that fails in the middle does not end a training.
    `finish` waits for such a store, and raises.

    Args:
        tracking: the store.
        run: id of the run.
        logged: epochs that an earlier attempt had logged.
        began: when the run began, in seconds since 1970.
    """

    def __init__(self, tracking: Tracking, run: str, logged: set[int], began: float) -> None:
        self.tracking, self.run, self.logged = tracking, run, logged
        self.writer = MetricWriter(tracking.uri, run, began)

    def epoch(self, epoch: int, record: dict[str, float]) -> None:
        """Log the metrics of one epoch, unless an earlier attempt has; returns at once."""
        if epoch not in self.logged:
            self.writer.put(record, epoch)
            self.logged.add(epoch)

    def finish(self, result: Result, model: TrackedModel | None = None) -> None:
        """Log what epochs are missing, the final metrics and the model; close the run.

        Args:
            result: of the job.
            model: None to log none.

        Raises:
            TrackingError: the store cannot be reached.
        """
        for epoch, record in enumerate(result.history, start=1):
            self.epoch(epoch, record)
        self.writer.put(result.summary, result.best_epoch)
        self.writer.stop()
        waited(self.tracking.uri, self.writer.flush)

        def close() -> None:
            if model is not None:
                log_model(self.tracking.uri, self.run, model)
            client_of(self.tracking.uri).set_terminated(self.run, "FINISHED")

        waited(self.tracking.uri, close)

    def leave(self) -> None:
        """Write what can be written at once of a training that ends here without a result."""
        self.writer.stop()
        with suppress(TrackingError):
            self.writer.flush()
