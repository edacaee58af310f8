"""The same jobs on Ray Train workers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray
import torch

from training import results
from training.local_engine import train_locally
from training.ray_engine import _raise_failure_of, train_on_ray
from zoo_gen import EngineError, Store, TrainingError


@pytest.fixture
def own_root(root: Store, tmp_path: Path) -> Store:
    """A root of this test, with the shared zoo."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "zoos").symlink_to(root.local("zoos"))
    return Store(str(tmp_path / "root"))


def quiet(job: object, epoch: int, record: object) -> None:
    pass


def test_two_workers_give_the_result_of_one_process(
    ray_session, own_root, root, job, tracking
) -> None:
    jobs = [job(seed=11, permutation=True), job(kind="dwsnet", seed=11)]
    told: list[tuple[str, int]] = []
    train_on_ray(
        own_root,
        jobs,
        tracking,
        lambda j, e, r: told.append((j.model, e)),
        workers=2,
        workers_per_job=2,
    )
    assert told[-1] == ("dwsnet", 3)
    train_locally(root, jobs, tracking, quiet)
    for one in jobs:
        two, single = results.read(own_root, one), results.read(root, one)
        assert (two.workers, single.workers) == (2, 1)
        for a, b in zip(two.history, single.history, strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
            assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-4)
    assert not list(own_root.local("checkpoints").iterdir())


def test_a_lane_whose_process_died_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def died(ref: object) -> None:
        raise ray.exceptions.WorkerCrashedError

    monkeypatch.setattr(ray, "get", died)
    with pytest.raises(EngineError, match=r"died \(WorkerCrashedError\).* the same command conti"):
        _raise_failure_of(None)


def test_two_workers_see_each_training_network_once_per_epoch(
    ray_session, own_root, data, job, tracking
) -> None:
    seen = own_root.local("seen")
    seen.mkdir()

    @dataclass(frozen=True)
    class Watched:
        """A linear model that writes down which networks it was trained on."""

        kind: str = "watched"

        def build(self, space, classes, w0):
            from dws import Standardize

            class Model(torch.nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.standardize = Standardize(space)
                    self.linear = torch.nn.Linear(space.size, classes)

                def forward(self, theta):
                    if self.training:
                        with open(seen / f"{os.getpid()}.txt", "a") as file:
                            file.writelines(json.dumps(row[:4].tolist()) + "\n" for row in theta)
                    return self.linear(theta)

            return Model()

    one = replace(job(epochs=2), network=Watched(), model="watched")
    train_on_ray(own_root, [one], tracking, quiet, workers=2, workers_per_job=2)
    files = list(seen.iterdir())
    assert len(files) == 2
    rows = sorted(line for file in files for line in file.read_text().splitlines())
    train = [json.dumps(row[:4].tolist()) for row in data.theta[data.rows["train"]]]
    assert rows == sorted(train * 2)


def test_lanes_share_the_jobs_and_give_the_results_of_one_process(
    ray_session, own_root, root, job, tracking
) -> None:
    jobs = [job(seed=s, permutation=True) for s in (31, 32, 33)]
    train_on_ray(own_root, jobs, tracking, quiet, workers=2)
    train_locally(root, jobs, tracking, quiet)
    for one in jobs:
        lane, single = results.read(own_root, one), results.read(root, one)
        assert lane.workers == 1
        assert [r["val_loss"] for r in lane.history] == [r["val_loss"] for r in single.history]
    assert not list(own_root.local("checkpoints").iterdir())


def test_an_error_of_the_user_is_told_once(ray_session, own_root, job, tracking) -> None:
    with pytest.raises(TrainingError, match="the model diverged; lower"):
        train_on_ray(
            own_root, [job(learning_rate=1e30)], tracking, quiet, workers=2, workers_per_job=2
        )
