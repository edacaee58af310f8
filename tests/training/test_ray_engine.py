"""The same jobs on Ray: lanes of one worker, and lanes whose workers share each batch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

import pytest
import ray
import torch
from torch import Tensor, nn

from dws import Standardize, WeightSpace
from training import results
from training.jobs import TrainingJob
from training.local_engine import train_locally
from training.ray_engine import _raise_failure_of, train_on_ray
from training.tasks import TaskData
from training.tracking import Tracking
from zoo_gen import EngineError, Store, TrainingError


def watched(folder: str) -> Any:
    """A linear model that writes down, a file per process, which networks it was trained on."""

    @dataclass(frozen=True)
    class Watched:  # in a function: so that Ray takes the class along, which no worker can import
        kind: str = "watched"

        def build(self, space: WeightSpace, classes: int, forward_pass: Any) -> nn.Module:
            class Model(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.standardize = Standardize(space)
                    self.linear = nn.Linear(space.size, classes)

                def forward(self, theta: Tensor) -> Tensor:
                    if self.training and not torch.compiler.is_exporting():
                        with open(f"{folder}/{os.getpid()}.txt", "a") as file:
                            file.writelines(json.dumps(row[:4].tolist()) + "\n" for row in theta)
                    return self.linear(theta)

            return Model()

    return Watched()


def quiet(job: object, epoch: int, record: object) -> None:
    pass


@dataclass
class Place:
    """A root of its own with the shared zoo, and an MLflow store."""

    store: Store
    tracking: Tracking


@pytest.fixture(scope="module")
def place(root: Store, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    (folder / "zoos").symlink_to(root.local("zoos"))
    uri = f"sqlite:///{folder}/mlflow.db"
    tracking = Tracking.connect(uri, "tests", folder / "mlartifacts")
    return Place(Store(str(folder)), tracking.with_parent("parent", "key", {}, ""))


@pytest.fixture(scope="module")
def shared(ray_session: int, place: Place, job: Any) -> tuple[list[TrainingJob], list[Any]]:
    """Jobs that two workers trained, each batch shared, and the epochs that were reported."""
    seen = place.store.local("seen")
    seen.mkdir()
    watch = replace(job(epochs=2), network=watched(str(seen)), model="watched")
    one = [job(seed=11, permutation=True), job(kind="dwsnet", seed=11), watch]
    epochs: list[Any] = []
    train_on_ray(
        place.store,
        one,
        place.tracking,
        lambda j, epoch, record: epochs.append((j.model, epoch)),
        workers=2,
        workers_per_job=2,
    )
    return one, epochs


def test_two_workers_give_the_result_of_one_process(
    shared: Any, place: Place, root: Store, tracking: Tracking
) -> None:
    jobs = shared[0][:2]
    train_locally(root, jobs, tracking, quiet)
    for one in jobs:
        two, single = results.read(place.store, one), results.read(root, one)
        assert (two.workers, single.workers) == (2, 1)
        for a, b in zip(two.history, single.history, strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
            assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-4)


def test_two_workers_see_each_training_network_once_per_epoch(
    shared: Any, place: Place, data: TaskData
) -> None:
    files = list(place.store.local("seen").iterdir())
    assert len(files) == 2
    rows = sorted(line for file in files for line in file.read_text().splitlines())
    train = [json.dumps(row[:4].tolist()) for row in data.theta[data.rows["train"]]]
    assert rows == sorted(train * 2)


def test_epochs_are_reported_in_order(shared: Any) -> None:
    _, epochs = shared
    assert epochs[-1] == ("watched", 2)
    assert epochs == sorted(epochs, key=lambda e: (["mlp", "dwsnet", "watched"].index(e[0]), e[1]))


def test_lanes_share_the_jobs_and_give_the_results_of_one_process(
    ray_session: int, place: Place, root: Store, job: Any, tracking: Tracking
) -> None:
    jobs = [job(seed=s, permutation=True) for s in (31, 32, 33)]
    train_on_ray(place.store, jobs, place.tracking, quiet, workers=2)
    train_locally(root, jobs, tracking, quiet)
    for one in jobs:
        lane, single = results.read(place.store, one), results.read(root, one)
        assert lane.workers == 1
        assert [r["val_loss"] for r in lane.history] == [r["val_loss"] for r in single.history]


def test_no_checkpoint_is_left(shared: Any, place: Place) -> None:
    assert not place.store.names("checkpoints")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_user_is_raised_without_a_restart(
    ray_session: int, place: Place, job: Any, workers: int
) -> None:
    diverging = [job(learning_rate=1e30)]
    with pytest.raises(TrainingError, match="the model diverged; lower"):
        train_on_ray(place.store, diverging, place.tracking, quiet, workers, workers)


def test_a_lane_whose_process_died_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def died(ref: object) -> None:
        raise ray.exceptions.WorkerCrashedError

    monkeypatch.setattr(ray, "get", died)
    with pytest.raises(EngineError, match=r"died \(WorkerCrashedError\).* the same command conti"):
        _raise_failure_of(None)
