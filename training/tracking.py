"""Runs, metrics, data sets and models in MLflow: the one door to it.

An experiment per config name, a parent run per config content, a child run per model and seed. Runs
are found again by a tag, so that an interrupted command continues the run that it began.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.results import Job, Result, flat
from zoo_gen import TrackingError

KEY = "dwszoo.key"
MODEL = "model"
PARENT = "mlflow.parentRunId"
EXAMPLE_ROWS = 4
METRICS_PER_CALL = 1000  # MLflow's own limit


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
    def connect(cls, uri: str, experiment: str, artifacts: Path | None) -> Tracking:
        """Reach the store and make the experiment: once, before workers start and race to do so.

        Args:
            uri: of the store.
            experiment: its name.
            artifacts: where artifacts go, or None for the store's own place.

        Raises:
            TrackingError: the store cannot be reached or is not an MLflow store.
        """
        with _told(uri):
            client = _client(uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                location = artifacts.as_uri() if artifacts else None
                return cls(uri, client.create_experiment(experiment, location))
            if found.lifecycle_stage != "active":
                raise TrackingError(
                    f"the MLflow experiment {experiment!r} in {uri} was deleted; restore it "
                    f"(mlflow experiments restore -x {found.experiment_id}) or rename the config"
                )
            return cls(uri, found.experiment_id)

    def with_parent(self, name: str, key: str, params: dict[str, Any], config: str) -> Tracking:
        """The same, below the parent run of this key, which is found or made.

        Args:
            name: of the run; ``key`` is the hash of what it is.
            params: what the run was asked for; ``config`` the file's text, kept as an artifact.
        """
        with _told(self.uri):
            client = _client(self.uri)
            run = self.find(key)
            if run is None:
                run = client.create_run(self.experiment, run_name=name).info.run_id
                self._params(run, params)
                client.log_text(run, config, "config.yaml")
                client.set_tag(run, KEY, key)  # last: a run that is found is complete
            return Tracking(self.uri, self.experiment, run)

    def find(self, key: str, finished: bool = False) -> str | None:
        """Id of the run with this key (and finished), or None."""
        with _told(self.uri):
            status = " and attributes.status = 'FINISHED'" if finished else ""
            runs = _client(self.uri).search_runs(
                [self.experiment], f"tags.`{KEY}` = '{key}'{status}", max_results=1
            )
            return runs[0].info.run_id if runs else None

    def child(self, job: Job, zoo: dict[str, Any]) -> ChildRun:
        """The run of one job, found or made, set running.

        Args:
            zoo: where the job's zoo lies and how many networks it has: ``url``, ``members``.
        """
        with _told(self.uri):
            client = _client(self.uri)
            run = self.find(job.hash8)
            if run is None:
                tags = {PARENT: self.parent, "mlflow.runName": job.title, "model": job.model}
                tags |= {"seed": str(job.seed), "zoo": job.zoo, "model_input": job.model_input}
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
        with _told(self.uri):
            found: dict[str, float] = _client(self.uri).get_run(run).data.metrics
            return found

    def curve(self, run: str, metric: str) -> list[tuple[int, float]]:
        """(epoch, value) of one metric of a run."""
        with _told(self.uri):
            history = _client(self.uri).get_metric_history(run, metric)
            return sorted({m.step: m.value for m in history}.items())

    def artifact(self, file: Path) -> None:
        """Attach a file to the parent run."""
        with _told(self.uri):
            _client(self.uri).log_artifact(self.parent, str(file))

    def end(self, status: str = "FINISHED") -> None:
        """Close the parent run and children that still run: FINISHED, FAILED or KILLED."""
        with _told(self.uri):
            client = _client(self.uri)
            still = f"tags.`{PARENT}` = '{self.parent}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([self.experiment], still):
                client.set_terminated(child.info.run_id, status)
            client.set_terminated(self.parent, status)

    def _params(self, run: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(k, str(v)) for k, v in flat(params).items()]
        _client(self.uri).log_batch(run, params=entries)

    def _dataset(self, run: str, job: Job, zoo: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = job.zoo.rsplit("/", 1)[-1].rsplit("-", 1)
        dataset = Dataset(
            name,
            digest,
            "dwszoo",
            source=f'{{"uri": "{zoo["url"]}"}}',
            profile=f'{{"num_rows": {zoo["members"]}}}',
        )
        context = InputTag("mlflow.data.context", "training")
        _client(self.uri).log_inputs(run, [DatasetInput(dataset, [context])])


class ChildRun:
    """The run of one job.

    A store that fails in the middle of a training does not end it: what could not be logged is
    kept and logged with the next epoch, at the latest by `finish`, which raises.

    Args:
        tracking: the store.
        run: id of the run.
        logged: epochs that an earlier attempt had logged.
    """

    def __init__(self, tracking: Tracking, run: str, logged: set[int]) -> None:
        self.tracking, self.run, self.logged = tracking, run, logged
        self.waiting: list[tuple[int, dict[str, float]]] = []

    def epoch(self, epoch: int, record: dict[str, float]) -> None:
        """Log the metrics of one epoch, unless an earlier attempt has."""
        if epoch not in self.logged:
            self.waiting.append((epoch, record))
            self.logged.add(epoch)
        with suppress(TrackingError):
            self._flush()

    def finish(self, result: Result, model: nn.Module, theta: Tensor) -> None:
        """Log what epochs are missing, the final metrics and the model; close the run.

        Args:
            result: of the job.
            model: from ``[m, size]`` to logits, in evaluation mode.
            theta: networks; the first few become the model's input example.

        Raises:
            TrackingError: the store cannot be reached.
        """
        for epoch, record in enumerate(result.history, start=1):
            self.epoch(epoch, record)
        self.waiting.append((result.best_epoch, result.summary))
        self._flush()
        with _told(self.tracking.uri):
            log_model(self.tracking.uri, self.run, model, theta[:EXAMPLE_ROWS])
            _client(self.tracking.uri).set_terminated(self.run, "FINISHED")

    def _flush(self) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, epoch)
            for epoch, record in self.waiting
            for name, value in record.items()
        ]
        with _told(self.tracking.uri):
            for start in range(0, len(metrics), METRICS_PER_CALL):
                some = metrics[start : start + METRICS_PER_CALL]
                _client(self.tracking.uri).log_batch(self.run, metrics=some)
        self.waiting.clear()


def log_model(uri: str, run: str, model: nn.Module, theta: Tensor) -> None:
    """Log a network with signature and input example, as an exported program without pickled code.

    The program needs torch alone: whoever loads it needs none of our packages.
    """
    from mlflow.models import infer_signature

    with torch.no_grad():
        signature = infer_signature(theta.numpy(), model(theta).numpy())
    with _fluent(uri) as mlflow, mlflow.start_run(run_id=run), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.log_model(
            model,
            name=MODEL,
            signature=signature,
            input_example=theta.numpy(),
            # named, so that MLflow does not start processes to find out
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
        )


def load_model(tracking: Tracking, run: str) -> nn.Module:
    """The network that a run logged."""
    with _told(tracking.uri), _fluent(tracking.uri) as mlflow:
        model: nn.Module = mlflow.pytorch.load_model(f"runs:/{run}/{MODEL}")
        return model


def _client(uri: str) -> Any:
    """A client of the store; MLflow is told to be brief and to give up in seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # the import of mlflow sets them to INFO
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(uri)


@contextmanager
def _fluent(uri: str) -> Iterator[Any]:
    """MLflow, speaking to this store; left alone it would put the address into the environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield mlflow
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what MLflow, SQLAlchemy and requests raise into one readable line."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        known = type(error).__module__.split(".")[0] in (
            "mlflow",
            "sqlalchemy",
            "requests",
            "alembic",
        )
        if not (known or isinstance(error, OSError | ImportError)):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TrackingError(
            f"the MLflow store {uri} cannot be used: {reason}; check that it runs and "
            "MLFLOW_TRACKING_URI, or unset it for the embedded store"
        ) from error
