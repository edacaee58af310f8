"""One trial in one process: its checkpoints, its reports, and no look at test data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spaces import ACCURACY

from training import loop
from training.jobs import TrainingJob
from training.search.ray_worker import EPOCH, LAST, RECORD, SCORE, TrialReports, TrialRunner
from training.tasks import TaskData
from zoo_gen import Store


class Reports:
    """What a search receives; it may stop the trial after some report, as Ray does."""

    def __init__(self, stop_after: int = 99) -> None:
        self.stop_after = stop_after
        self.all: list[dict[str, Any]] = []

    def __call__(self, metrics: dict[str, Any]) -> None:
        self.all.append(metrics)
        if len(self.all) == self.stop_after:
            raise SystemExit

    @property
    def epochs(self) -> list[int]:
        return [metrics[EPOCH] for metrics in self.all]

    @property
    def values(self) -> list[tuple[float, float]]:
        records = [metrics[RECORD] for metrics in self.all]
        return [(record["val_accuracy"], record["val_loss"]) for record in records]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def train(
    store: Store, job: TrainingJob, data: TaskData, stop_after: int = 99, every: float = 0.0
) -> Reports:
    """Train a trial; what it reported."""
    reports = Reports(stop_after)
    kept = TrialReports(store, "trial.pt", job, ACCURACY, reports, every)
    try:
        loop.train(job.network, data, job.training, job.seed, kept, last="val")
    except SystemExit:
        assert len(reports.all) == stop_after
    return reports


def test_a_trial_sees_nothing_of_test_data(
    data: TaskData, job: Any, root: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks of the test split whose weights are nan change no epoch."""
    theta = data.theta.clone()
    theta[data.rows["test"]] = torch.nan
    reports = []
    for shown in (data, replace(data, theta=theta)):
        monkeypatch.setattr(
            "training.search.ray_worker.job_data", lambda *_, shown=shown: (shown, None)
        )
        reports.append(Reports())
        runner = TrialRunner(store, "search", lambda params: None, ACCURACY)  # type: ignore[arg-type,return-value]
        runner.train(job(), f"{len(reports)}.pt", reports[-1], "cpu")
    assert reports[0].values == reports[1].values


def test_a_trial_evaluates_validation_networks_alone(
    data: TaskData, job: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated, evaluate = [], loop.evaluate

    def noted(model: Any, data: TaskData, split: str, device: str) -> Any:
        evaluated.append(split)
        return evaluate(model, data, split, device)

    monkeypatch.setattr(loop, "evaluate", noted)
    monkeypatch.setattr("training.search.ray_worker.job_data", lambda *_: (data, None))
    runner = TrialRunner(store, "search", lambda params: None, ACCURACY)  # type: ignore[arg-type,return-value]
    runner.train(job(), "trial.pt", Reports(), "cpu")
    assert set(evaluated) == {"val"}


def test_an_interrupted_trial_ends_as_if_it_had_not_been(
    data: TaskData, job: Any, store: Store
) -> None:
    """And reports its earlier epochs again: a search that continues has forgotten them."""
    whole = train(Store(f"{store.root}/other"), job(epochs=5), data)
    train(store, job(epochs=5), data, stop_after=2)
    second = train(store, job(epochs=5), data)
    assert second.values == whole.values
    assert second.epochs == [1, 2, 3, 4, 5]


def test_the_checkpoint_is_not_written_more_often_than_asked(
    data: TaskData, job: Any, store: Store
) -> None:
    reports = train(store, job(), data, every=1000.0)
    assert not store.exists("trial.pt")
    assert reports.epochs == [1, 2, 3]


def test_the_score_is_the_best_value_so_far(job: Any, store: Store) -> None:
    reports = Reports()
    kept = TrialReports(store, "trial.pt", job(), ACCURACY, reports, every=1000.0)
    for value in (float("nan"), 0.5, 0.25):
        kept.save({"history": [{"val_accuracy": value}]})
    assert [metrics[SCORE] for metrics in reports.all[1:]] == [0.5, 0.5]
    assert [metrics[LAST] for metrics in reports.all] == [False, False, True]
