"""What was done can be found in MLflow, through its own client."""

from __future__ import annotations

import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training import results
from training.tracking import Tracking
from training.tracking.tags import git_tags
from zoo_gen import Store


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


def test_the_parent_is_found_again(tracking: Tracking) -> None:
    again = Tracking.connect(tracking.uri, "tests", None).with_parent("p", "parentkey", {}, "")
    assert again == tracking
