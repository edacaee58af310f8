"""The result of a training job on disk.

Like a shard, a result is published whole and once: that ``result.json`` exists means that the job
is done. Its folder's name ends in a hash of everything that changes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch

from training.jobs import TrainingJob
from training.loop import Outcome
from training.tasks import TaskData
from zoo_gen import StorageError, Store

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Result:
    """The result of a training job.

    Attributes:
        parameters: weights of the model.
        best_epoch: counted from 1.
        history: a record per epoch.
        test: loss and metrics on the test split.
        predictions: what the model predicts for each test network, in the order of the zoo.
        left_out: networks of the zoo that had diverged.
        workers: processes that trained.
        main: the task's first metric, which chose the epoch.
        output: what the model gives (`training.tasks.Output`), as plain data; empty in results
            that are older than it.
    """

    parameters: int
    best_epoch: int
    history: list[dict[str, float]]
    test: dict[str, float]
    predictions: list[Any]
    left_out: int
    workers: int
    main: str = "accuracy"
    output: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, outcome: Outcome, data: TaskData, workers: int) -> Result:
        """Of what the loop returned."""
        return cls(
            sum(p.numel() for p in outcome.model.parameters()),
            outcome.best_epoch,
            outcome.history,
            outcome.test,
            outcome.predictions.tolist(),
            data.left_out,
            workers,
            data.task.main.name,
            data.task.output(data).as_dict(),
        )

    @property
    def validation(self) -> dict[str, float]:
        """The record of the best epoch."""
        return self.history[self.best_epoch - 1]

    @property
    def summary(self) -> dict[str, float]:
        """The final metrics, as they are tracked."""
        seconds = sum(record["seconds"] for record in self.history)
        networks = sum(r["seconds"] * r["networks_per_second"] for r in self.history)
        return {
            **{f"test_{name}": value for name, value in self.test.items()},
            f"best_val_{self.main}": self.validation[f"val_{self.main}"],
            "best_epoch": float(self.best_epoch),
            "train_seconds": seconds,
            "mean_networks_per_second": networks / seconds,
            "parameters": float(self.parameters),
        }


def publish(store: Store, job: TrainingJob, result: Result, model: bytes) -> None:
    """Write the model, as `training.model_file` has it, then the result that declares it done."""
    store.publish(f"{job.folder}/{MODEL_FILE}", model)
    record = {"job": job.settings, "versions": {"torch": torch.__version__}, **vars(result)}
    store.publish(f"{job.folder}/result.json", json.dumps(record, indent=1).encode())


def done(store: Store, job: TrainingJob) -> bool:
    """Whether the job has a result."""
    return store.exists(f"{job.folder}/result.json")


def read(store: Store, job: TrainingJob) -> Result:
    """The result of a job that is done.

    Raises:
        StorageError: it cannot be read or is not a result.
    """
    return read_at(store, job.folder)[1]


def read_at(store: Store, folder: str) -> tuple[dict[str, Any], Result]:
    """The settings of a job and its result, of a folder below ``models/``.

    Raises:
        StorageError: as `read`.
    """
    path = f"{folder}/result.json"
    try:
        record = json.loads(store.read(path))
        known = {name: record[name] for name in Result.__dataclass_fields__ if name in record}
        return record["job"], Result(**known)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{store.url(path)} is not a result ({error!r}); delete its folder to train it anew"
        ) from error


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names."""
    out: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out
