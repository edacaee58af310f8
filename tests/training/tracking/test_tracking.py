"""What was done can be found in MLflow, through its own client."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from dws.symmetries import flip_signs
from training import results, run
from training.data import prepare
from training.model_file import state_of
from training.run import run_job, run_locally, track_again
from training.tasks import Retrieve
from training.tracking import Tracking
from training.tracking.models import load_model
from training.tracking.tags import git_tags
from zoo_gen import Store, TrackingError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def trained(root: Store, job, tmp_path_factory):
    """One job done without Ray, its tracking and the client."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking.connect(f"sqlite:///{folder}/mlflow.db", "tests", folder / "mlartifacts")
    tracking = tracking.with_parent("parent", "key", {"a": {"b": [1, 2]}}, "config: text")
    one = job(kind="dwsnet", seed=7)
    run_locally(root, [one], tracking, lambda job, epoch, record: None)
    client = MlflowClient(tracking.uri)
    return one, tracking, client, client.get_run(tracking.find(one.hash8, finished=True))


def test_parameters_are_those_of_the_job(trained) -> None:
    job, _, _, child = trained
    assert child.data.params["seed"] == "7"
    assert child.data.params["network.hidden_channels"] == "4"
    assert child.data.params["training.learning_rate"] == str(job.training.learning_rate)


def test_metrics_per_epoch_and_final_ones_equal_the_result(trained, root: Store) -> None:
    job, _, client, child = trained
    result = results.read(root, job)
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        history = client.get_metric_history(child.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [
            (epoch, record[name]) for epoch, record in enumerate(result.history, start=1)
        ]
    assert child.data.metrics["test_accuracy"] == result.test["accuracy"]
    assert child.data.metrics["best_epoch"] == result.best_epoch


def test_a_run_says_whose_code_made_it_and_where(trained) -> None:
    import socket

    _, tracking, client, child = trained
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    for run_id in (child.info.run_id, tracking.parent):
        tags = client.get_run(run_id).data.tags
        assert tags.get("mlflow.source.git.commit", "") == commit.stdout.strip()
        assert tags["host"] == socket.gethostname()
        assert tags["version.torch"] == version("torch")
    assert child.data.tags["zoo_hash"] == child.inputs.dataset_inputs[0].dataset.digest


def test_mlflow_is_told_that_models_are_trained_here(trained) -> None:
    _, tracking, client, _ = trained
    tags = client.get_experiment(tracking.experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_file_below_anothers_checkout_has_no_commit(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    (tmp_path / "installed.py").write_text("")
    assert git_tags(tmp_path / "installed.py") == {}


def test_how_the_machine_fares_is_logged_while_it_trains(job, tracking, monkeypatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
    monkeypatch.setattr("training.tracking.metrics.WRITE_SECONDS", 0.2)
    child = tracking.child(job(seed=11), {"url": "u", "members": 1})
    client, end = MlflowClient(tracking.uri), time.monotonic() + 60
    found: list[Any] = []
    while len(found) < 2 and time.monotonic() < end:
        found = client.get_metric_history(child.run, "system/cpu_utilization_percentage")
        time.sleep(0.1)
    child.leave()
    assert len(found) >= 2
    assert all(0 <= m.value <= 100 for m in found)


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


def test_the_zoo_is_the_runs_data_set_with_its_hash(trained) -> None:
    job, _, _, child = trained
    dataset = child.inputs.dataset_inputs[0].dataset
    assert job.zoo.endswith(f"{dataset.name}-{dataset.digest}")


def test_the_run_is_a_child_of_the_parent(trained) -> None:
    _, tracking, client, child = trained
    assert child.data.tags["mlflow.parentRunId"] == tracking.parent
    assert client.get_run(tracking.parent).data.params["a.b"] == "[1, 2]"
    path = client.download_artifacts(tracking.parent, "config.yaml")
    assert Path(path).read_text() == "config: text"


def test_the_logged_model_gives_the_same_logits(trained, root: Store, data) -> None:
    job, tracking, _, child = trained
    ours = job.network.build(data.space, data.classes)
    ours.load_state_dict(state_of(root.read(f"{job.folder}/model.safetensors")))
    theirs = load_model(tracking.uri, child.info.run_id)
    for n in (1, 5):
        torch.testing.assert_close(theirs(data.theta[:n]), ours.eval()(data.theta[:n]))


def test_the_logged_model_needs_none_of_our_packages(trained, data, tmp_path: Path) -> None:
    import numpy as np

    _, tracking, _, child = trained
    np.save(tmp_path / "theta.npy", data.theta[:3].numpy())
    code = (
        "import sys, numpy as np, mlflow\n"
        "for name in ('dws', 'zoo_gen', 'training', 'pipeline'): sys.modules[name] = None\n"
        f"mlflow.set_tracking_uri({tracking.uri!r})\n"
        f"model = mlflow.pyfunc.load_model('runs:/{child.info.run_id}/model')\n"
        f"print(model.predict(np.load({str(tmp_path / 'theta.npy')!r})).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(3, 10)", done.stderr[-500:]


def test_the_logged_model_of_canonical_weights_takes_any(
    root: Store, job, data, memory, tracking
) -> None:
    one = job(seed=8, prepare="canonical-sine")
    run_job(root, one, tracking, memory())
    ours = one.network.build(data.space, data.classes)
    ours.load_state_dict(state_of(root.read(f"{one.folder}/model.safetensors")))
    theirs = load_model(tracking.uri, tracking.find(one.hash8))
    expected = ours.eval()(prepare(data, "canonical-sine").theta[:5])
    torch.testing.assert_close(theirs(data.theta[:5]), expected)
    other = flip_signs(data.space, data.theta[:5])
    torch.testing.assert_close(theirs(other), expected)


def test_a_canonical_model_is_tracked_again_with_its_form(
    root: Store, job, data, memory, tracking
) -> None:
    one = job(seed=9, prepare="canonical-sine")
    run_job(root, one, tracking, memory())
    first = load_model(tracking.uri, tracking.find(one.hash8))(data.theta[:5])
    again = Tracking.connect(tracking.uri, "again", None).with_parent("p", "k", {}, "")
    track_again(root, one, again)
    theirs = load_model(again.uri, again.find(one.hash8))
    torch.testing.assert_close(theirs(data.theta[:5]), first)


def test_a_run_says_which_weights_its_model_takes(root: Store, job, data, memory, tracking) -> None:
    from mlflow import MlflowClient

    one = job(seed=10, prepare="align")
    run_job(root, one, tracking, memory())
    run_id = tracking.find(one.hash8)
    tags = MlflowClient(tracking.uri).get_run(run_id).data.tags
    assert tags["model_input"].startswith("aligned to the mean of the training networks")
    score = results.read(root, one)
    aligned = prepare(data, "align").theta[data.rows["test"]]
    assert load_model(tracking.uri, run_id)(aligned).argmax(1).tolist() == score.predictions


def test_a_continued_training_logs_each_epoch_once(root: Store, job, memory, tracking) -> None:
    from mlflow import MlflowClient

    one, checkpoints = job(seed=3, epochs=5), memory(interrupt_after=3)
    with pytest.raises(KeyboardInterrupt):
        run_job(root, one, tracking, checkpoints)
    run_job(root, one, tracking, checkpoints)
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
    run_job(root, one, tracking, memory())
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


def test_the_parent_is_found_again(tracking: Tracking) -> None:
    again = Tracking.connect(tracking.uri, "tests", None).with_parent("p", "parentkey", {}, "")
    assert again == tracking


def test_checkpoint_files_of_another_job_are_ignored(job, tmp_path: Path) -> None:
    a, b, store = job(), job(seed=1), Store(str(tmp_path))
    run.FileCheckpoints(store, "c.pt", a).save({"history": []})
    assert run.FileCheckpoints(store, "c.pt", a).load() == {"history": []}
    assert run.FileCheckpoints(store, "c.pt", b).load() is None


def test_a_damaged_checkpoint_is_ignored(job, tmp_path: Path) -> None:
    place, file = run.FileCheckpoints(Store(str(tmp_path)), "c.pt", job()), tmp_path / "c.pt"
    place.save({"history": []})
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[:100], whole[:200] + b"xxxx" + whole[204:]):
        file.write_bytes(content)
        assert place.load() in (None, {"history": []})


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


def test_checkpoints_of_another_task_are_ignored(job, tmp_path: Path) -> None:
    a, store = job(), Store(str(tmp_path))
    b = replace(a, task=Retrieve())
    run.FileCheckpoints(store, "c.pt", a).save({"history": []})
    assert run.FileCheckpoints(store, "c.pt", b).load() is None
