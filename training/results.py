"""A trained model on disk: what was asked (a job), and what came of it (a result).

Like a shard, a result is published whole and once: that ``result.json`` exists means that the job
is done. Its folder's name ends in a hash of everything that changes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch

from training.data import WeightData
from training.loop import Outcome, Training
from training.models import Network
from training.tasks import Classify, Task
from zoo_gen import Source, StorageError, Store
from zoo_gen.recipe.recipe import hash8, hashed

FORMAT = 1
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Job:
    """One model with one seed on one zoo.

    Attributes:
        config: name of the config, for people.
        model: name of the model in the config, for people.
        network: what is built.
        training: how it is trained.
        seed: of initialisation, order and augmentation.
        zoo: folder of the zoo below the root, or the path or address of one elsewhere.
        task: what is learned.
        networks: how many of the training networks are used, the first; None for all.
        zoo_hash: of the zoo, where its folder's name does not end in it.
        source: of its signals, for tasks that take them; the zoo's hash tells which they are.
    """

    config: str
    model: str
    network: Network
    training: Training
    seed: int
    zoo: str
    task: Task = field(default_factory=Classify)
    networks: int | None = None
    zoo_hash: str = ""
    source: Source | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the result, as plain data."""
        settings = {
            "network": hashed(self.network),
            "training": hashed(self.training),
            "seed": self.seed,
            "zoo": self.zoo_hash or self.zoo.rsplit("-", 1)[-1],
            **self.task.settings,
        }
        return settings if self.networks is None else settings | {"networks": self.networks}

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits over the settings."""
        return hash8({"format": FORMAT, **self.settings})

    @property
    def zoo_name(self) -> str:
        """For people: the zoo's folder without its hash."""
        return self.zoo.rstrip("/").rsplit("/", 1)[-1].removesuffix(f"-{self.settings['zoo']}")

    @property
    def title(self) -> str:
        """For people."""
        count = "" if self.networks is None else f" on {self.networks:,} networks"
        return f"{self.model}{count} seed {self.seed}"

    @property
    def model_input(self) -> str:
        """For people: which weights the tracked model takes."""
        if self.training.prepare == "align":
            return "aligned to the mean of the training networks (dws.align)"
        return "as they are in the zoo"

    @property
    def folder(self) -> str:
        """Where the result lies below the root."""
        return f"models/{self.config}-{self.model}-seed{self.seed}-{self.hash8}"


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        parameters: weights of the model.
        best_epoch: counted from 1.
        history: a record per epoch.
        test: loss and metrics on the test split.
        predictions: what the model says of each test network, in the order of the zoo.
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
    def of(cls, outcome: Outcome, data: WeightData, workers: int) -> Result:
        """From what the loop gave."""
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


def publish(store: Store, job: Job, result: Result, model: bytes) -> None:
    """Write the model, as `training.model_file` has it, then the result that declares it done."""
    store.publish(f"{job.folder}/{MODEL_FILE}", model)
    record = {"job": job.settings, "versions": {"torch": torch.__version__}, **vars(result)}
    store.publish(f"{job.folder}/result.json", json.dumps(record, indent=1).encode())


def done(store: Store, job: Job) -> bool:
    """Whether the job has a result."""
    return store.exists(f"{job.folder}/result.json")


def read(store: Store, job: Job) -> Result:
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
