"""Trials of a search in MLflow."""

from __future__ import annotations

from typing import Any

import pytest

from training.tracking import Tracking
from training.tracking.store import client_of
from training.tracking.trials import TrackedTrials
from training.tuning.ledger import Trial
from training.tuning.settings import Objective

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


def test_the_parent_tells_the_best(trials: TrackedTrials, tracking: Tracking) -> None:
    trials.close(DONE)
    run = client_of(tracking.uri).get_run(tracking.parent)
    assert run.data.metrics["best_val_accuracy"] == 0.75
    assert run.data.tags["best_trial"] == "3"
