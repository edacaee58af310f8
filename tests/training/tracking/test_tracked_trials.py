"""Trials of a search in MLflow."""

from __future__ import annotations

from typing import Any

import pytest

from training.search.settings import Objective
from training.search.trials import Trial
from training.tracking import Tracking
from training.tracking.store import client_of
from training.tracking.trials import TrackedTrials

ACCURACY = Objective("val_accuracy", greater=True)
DONE = Trial(3, {"m.lr": 0.1}, "done", ((1, 0.25), (2, 0.75)), 1.5)
FAILED = Trial(4, {"m.lr": 0.9}, "failed", reason="the loss is nan")
RECORDS = [{"val_accuracy": 0.25, "train_loss": 2.0}, {"val_accuracy": 0.75, "train_loss": 1.0}]


@pytest.fixture
def trials(tracking: Tracking) -> TrackedTrials:
    return TrackedTrials(tracking, "mlp", ACCURACY)


def children(tracking: Tracking) -> dict[str, Any]:
    """Name -> run, of all below the parent."""
    query = f"tags.`mlflow.parentRunId` = '{tracking.parent}'"
    found = client_of(tracking.uri).search_runs([tracking.experiment], query)
    return {run.info.run_name: run for run in found}


def test_a_trial_is_a_child_with_its_values_and_epochs(
    trials: TrackedTrials, tracking: Tracking
) -> None:
    trials.put(DONE, RECORDS)
    trials.close()
    run = children(tracking)["trial 3"]
    assert run.data.params == {"m.lr": "0.1"}
    assert run.data.metrics["best_val_accuracy"] == 0.75
    assert run.data.tags["status"] == "done"
    assert run.info.status == "FINISHED"
    assert (run.info.end_time - run.info.start_time) / 1000 == pytest.approx(1.5, abs=0.5)
    assert tracking.curve(run.info.run_id, "train_loss") == [(1, 2.0), (2, 1.0)]


def test_a_trial_that_failed_tells_why(trials: TrackedTrials, tracking: Tracking) -> None:
    trials.put(FAILED, [])
    trials.close()
    run = children(tracking)["trial 4"]
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "the loss is nan")


def test_a_trial_without_records_shows_its_curve(trials: TrackedTrials, tracking: Tracking) -> None:
    trials.put(DONE, [])
    trials.close()
    run = children(tracking)["trial 3"].info.run_id
    assert tracking.curve(run, "val_accuracy") == [(1, 0.25), (2, 0.75)]


def test_what_is_there_is_known(trials: TrackedTrials, tracking: Tracking) -> None:
    trials.put(DONE, RECORDS)
    trials.put(FAILED, [])
    trials.close()
    assert TrackedTrials(tracking, "mlp", ACCURACY).known() == {3, 4}


def test_what_a_crash_left_unfinished_is_removed(trials: TrackedTrials, tracking: Tracking) -> None:
    tags = {"mlflow.parentRunId": tracking.parent, "trial": "7"}
    client_of(tracking.uri).create_run(tracking.experiment, tags=tags)
    assert trials.known() == set()
    assert children(tracking) == {}


def planted(monkeypatch: pytest.MonkeyPatch, method: str, failures: float) -> list[str]:
    """Make a method of MLflow's client fail so often after it did what it was asked; the calls."""
    from mlflow import MlflowClient

    original: Any = getattr(MlflowClient, method)
    calls: list[str] = []

    def lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        answer = original(self, *args, **kwargs)
        if len(calls) <= failures:
            raise ConnectionError("planted: away")
        return answer

    monkeypatch.setattr(MlflowClient, method, lost)
    return calls


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated", "set_tag"])
def test_a_store_that_was_away_for_a_while_has_each_trial_once(
    trials: TrackedTrials, tracking: Tracking, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    calls = planted(monkeypatch, method, failures=1)
    trials.put(DONE, RECORDS)
    trials.close()
    assert len(calls) > 1 or method == "set_tag"  # whose answer alone was lost
    query = f"tags.`mlflow.parentRunId` = '{tracking.parent}'"
    (run,) = client_of(tracking.uri).search_runs([tracking.experiment], query)
    assert run.data.metrics["best_val_accuracy"] == 0.75
    assert trials.known() == {3}


def test_a_trial_that_could_not_be_written_is_no_known_one(
    trials: TrackedTrials, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the search's run has ended, and with it what still ran below it."""
    monkeypatch.setattr("training.tracking.store.RETRY_SECONDS", 0.0)
    with monkeypatch.context() as away:
        planted(away, "log_batch", failures=float("inf"))
        trials.put(DONE, RECORDS)
        trials.close()
    tracking.end()
    assert TrackedTrials(tracking, "mlp", ACCURACY).known() == set()
    assert children(tracking) == {}


def test_a_run_that_somebody_put_below_the_search_is_left_alone(
    trials: TrackedTrials, tracking: Tracking
) -> None:
    tags = {"mlflow.parentRunId": tracking.parent, "mlflow.runName": "notes"}
    client_of(tracking.uri).create_run(tracking.experiment, tags=tags)
    assert trials.known() == set()
    assert list(children(tracking)) == ["notes"]


def test_the_parent_tells_the_best(trials: TrackedTrials, tracking: Tracking) -> None:
    trials.close(DONE)
    run = client_of(tracking.uri).get_run(tracking.parent)
    assert run.data.metrics["best_val_accuracy"] == 0.75
    assert run.data.tags["best_trial"] == "3"
