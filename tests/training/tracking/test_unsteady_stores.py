"""A store that fails, races or answers late: nothing is lost or there twice, and it is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from training.tracking import Tracking
from training.train_job import track_again, train_job
from zoo_gen import Store, TrackingError

ROOT = Path(__file__).parents[3]


def test_an_epoch_is_logged_without_waiting_for_the_store(job, tracking, monkeypatch) -> None:
    from mlflow import MlflowClient

    answers, written = threading.Event(), []

    def slow(*args: object, **kwargs: object) -> None:
        written.append(answers.wait(10))

    child = tracking.child(job(seed=12), {"url": "u", "members": 1})
    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    monkeypatch.setattr("training.tracking.metrics.WRITE_SECONDS", 0.0)
    for epoch in range(1, 11):
        child.epoch(epoch, {"val_loss": 1.0})
    assert written == []  # all ten epochs are past, and no write has been answered
    answers.set()
    child.leave()
    assert written


def test_a_continued_training_logs_each_epoch_once(root: Store, job, memory, tracking) -> None:
    from mlflow import MlflowClient

    one, checkpoints = job(seed=3, epochs=5), memory(interrupt_after=3)
    with pytest.raises(KeyboardInterrupt):
        train_job(root, one, tracking, checkpoints)
    train_job(root, one, tracking, checkpoints)
    history = MlflowClient(tracking.uri).get_metric_history(tracking.find(one.hash8), "val_loss")
    assert sorted(m.step for m in history) == [1, 2, 3, 4, 5]


def test_a_result_is_written_into_a_store_that_lacks_it(trained, root: Store, tracking) -> None:
    job, first, _, child = trained
    assert tracking.find(job.hash8) is None
    track_again(root, job, tracking)
    again = tracking.find(job.hash8, finished=True)
    told = {k: v for k, v in child.data.metrics.items() if not k.startswith("system/")}
    assert {k: v for k, v in tracking.metrics(again).items() if k in told} == told
    assert tracking.curve(again, "val_loss") == first.curve(child.info.run_id, "val_loss")


def test_a_store_that_fails_in_between_loses_nothing(
    root: Store, job, memory, tracking, monkeypatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    log_batch, calls = MlflowClient.log_batch, []

    def flaky(self, run_id, metrics=(), **kwargs):
        calls.append(len(metrics))
        if len(calls) in (3, 4):
            raise MlflowException("planted: Max retries exceeded")
        return log_batch(self, run_id, metrics=metrics, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", flaky)
    one = job(seed=4, epochs=5)
    train_job(root, one, tracking, memory())
    assert len(calls) == 5  # parameters; four attempts at all metrics, two of which failed
    assert [e for e, _ in tracking.curve(tracking.find(one.hash8), "val_loss")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("method", ["log_batch", "log_inputs", "set_tag"])
def test_a_race_for_a_row_is_run_again_in_the_same_run(
    job, tracking, monkeypatch, method: str
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    original, calls = getattr(MlflowClient, method), []

    def raced(self, *args, **kwargs):
        calls.append(method)
        if len(calls) == 1:
            raise MlflowException("planted: (sqlite3.IntegrityError) UNIQUE constraint failed")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, method, raced)
    child = tracking.child(job(seed=13), {"url": "u", "members": 1})
    child.leave()
    assert len(calls) > 1
    assert runs_of(tracking) == {tracking.parent, child.run}


def test_an_unreachable_server_is_told_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9 cannot be used"):
        Tracking.connect("http://127.0.0.1:9", "tests", None)
    assert time.monotonic() - started < 60  # a bound on hanging, not a measurement


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is not SQLite" * 100)
    with pytest.raises(TrackingError, match="cannot be used"):
        Tracking.connect(f"sqlite:///{tmp_path}/mlflow.db", "tests", None)


def test_two_processes_that_open_a_new_store_at_once_both_open_it(tmp_path: Path) -> None:
    program = (
        "import sys, mlflow.store.tracking.sqlalchemy_store; from training.tracking import Tracking"
        "; print('ready', flush=True); sys.stdin.readline()"
        "; print(Tracking.connect(sys.argv[1], 'one', None).experiment)"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/mlflow.db"]
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0]
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_run_that_was_begun_and_not_described_is_gone_on_with(
    root: Store, job, tracking, monkeypatch
) -> None:
    one, params = job(seed=5), Tracking._params

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tracking, "_params", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracking.child(one, {"url": "u", "members": 1})
    assert tracking.find(one.hash8) is None
    monkeypatch.setattr(Tracking, "_params", params)
    child = tracking.child(one, {"url": "u", "members": 1})
    assert tracking.find(one.hash8) == child.run
    assert runs_of(tracking) == {tracking.parent, child.run}


def test_a_run_whose_creation_was_answered_too_late_is_the_only_one(
    job, tracking, monkeypatch
) -> None:
    from mlflow import MlflowClient

    create, calls = MlflowClient.create_run, []

    def late(self, *args, **kwargs):
        calls.append(create(self, *args, **kwargs))
        if len(calls) == 1:
            raise ConnectionError("planted: no answer")
        return calls[-1]

    monkeypatch.setattr(MlflowClient, "create_run", late)
    child = tracking.child(job(seed=14), {"url": "u", "members": 1})
    assert runs_of(tracking) == {tracking.parent, child.run}


def runs_of(tracking: Tracking) -> set[str]:
    """Ids of all runs of the experiment."""
    from mlflow import MlflowClient

    found = MlflowClient(tracking.uri).search_runs([tracking.experiment])
    return {run.info.run_id for run in found}


def test_ending_a_parent_ends_children_that_still_run(job, tracking) -> None:
    from mlflow import MlflowClient

    child = tracking.child(job(seed=6), {"url": "u", "members": 1})
    tracking.end("KILLED")
    for run_id in (child.run, tracking.parent):
        assert MlflowClient(tracking.uri).get_run(run_id).info.status == "KILLED"


def test_artifacts_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").write_text("a file where the folder should be")
    store = Tracking.connect(f"sqlite:///{tmp_path}/mlflow.db", "tests", tmp_path / "mlartifacts")
    with pytest.raises(TrackingError, match="cannot be used"):
        store.with_parent("parent", "key", {}, "config")
