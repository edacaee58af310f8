"""The embedded SQLite and a server with PostgreSQL behave alike: the same tests on both."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from many_trials import record, trial_job
from torch import nn

from training.results import Result
from training.tracking import Tracking
from training.tracking.models import TrackedModel, load_model

ROOT = Path(__file__).parents[3]
PROCESSES, TRIALS, EPOCHS = 3, 4, 6
HISTORY = [
    {"val_loss": 1 / e, "val_accuracy": e / 10, "seconds": 1.0, "networks_per_second": 9.0}
    for e in (1, 2, 3)
]
RESULT = Result(7, 2, HISTORY, {"accuracy": 0.25, "loss": 2.0}, [1, 0], 0, 1)
ZOO = {"url": "there", "members": 12}


def no_postgres() -> str:
    """Why there can be no server with PostgreSQL here; empty if there can."""
    installed = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not shutil.which("initdb") and not installed:
        return "no PostgreSQL: apt-get install postgresql"
    return "" if importlib.util.find_spec("psycopg") else "no psycopg: pip install psycopg[binary]"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An MLflow server as `make mlflow-server` starts it."""
    if why := no_postgres():
        pytest.skip(why)
    from socket import socket

    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # not below tmp_path, which PostgreSQL's user may not enter where these tests run as root
    folder = Path(tempfile.mkdtemp(prefix="dwszoo-server-"))
    folder.chmod(0o755)
    command = [sys.executable, str(ROOT / "deploy" / "mlflow_server.py")]
    process = subprocess.Popen(
        [*command, "--folder", str(folder), "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "MLflow" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """An experiment with a parent run in each kind of store."""
    folder, artifacts = tmp_path_factory.mktemp("store"), None
    if request.param == "sqlite":
        uri, artifacts = f"sqlite:///{folder}/mlflow.db", folder / "mlartifacts"
    else:
        uri = request.getfixturevalue("server")
    params = {f"key{i}": {"sub": i} for i in range(150)}  # more than one call takes
    tracking = Tracking.connect(uri, "stores", artifacts)
    return tracking.with_parent("parent", "parentkey", params, "config: text")


def test_what_a_server_lacks_is_told(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "deploy" / "mlflow_server.py"), "--folder", str(tmp_path)]
    code = "import sys; sys.argv = sys.argv[1:]; import pathlib, runpy, shutil\n"
    code += "shutil.which = lambda *args, **kwargs: None\n"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    ran = subprocess.run(
        [sys.executable, "-c", code, *script[1:], "--port", "0"], capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "PostgreSQL is not installed (initdb is missing): apt-get install" in ran.stderr


def test_a_parent_keeps_what_it_is_told(store: Tracking) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    parent = client.get_run(store.parent)
    assert parent.data.params["key149.sub"] == "149"
    assert len(parent.data.params) == 150
    store.artifact("note.txt", b"some bytes")
    found = client.download_artifacts(store.parent, "note.txt")
    assert Path(found).read_bytes() == b"some bytes"
    again = Tracking.connect(store.uri, "stores", None)
    assert again.with_parent("parent", "parentkey", {}, "") == store


def test_a_child_keeps_epochs_summary_and_data_set(store: Tracking) -> None:
    from mlflow import MlflowClient

    job = trial_job(1000)
    first = store.child(job, ZOO)
    first.epoch(1, HISTORY[0])
    first.leave()  # interrupted
    store.child(job, ZOO).finish(RESULT)
    run = MlflowClient(store.uri).get_run(store.find(job.hash8, finished=True))
    assert store.curve(run.info.run_id, "val_accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert run.data.metrics["test_accuracy"] == 0.25
    assert run.data.tags["mlflow.parentRunId"] == store.parent
    assert run.inputs.dataset_inputs[0].dataset.digest == "00000000"
    assert "system/cpu_utilization_percentage" in run.data.metrics


def test_a_model_comes_back(store: Tracking) -> None:
    torch.manual_seed(0)
    model, theta, job = nn.Linear(5, 2).eval(), torch.randn(6, 5), trial_job(1001)
    store.child(job, ZOO).finish(RESULT, TrackedModel(model, theta, b""))
    run = store.find(job.hash8, finished=True)
    assert run is not None
    torch.testing.assert_close(load_model(store.uri, run)(theta), model(theta))


def test_many_trials_at_once_lose_nothing(store: Tracking, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "tracking").write_bytes(pickle.dumps(store))
    script = str(Path(__file__).with_name("many_trials.py"))
    processes = [
        subprocess.Popen(
            [sys.executable, script, f"{tmp_path}/tracking", str(i * TRIALS), str(TRIALS), "6"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for i in range(PROCESSES)
    ]
    assert [process.wait(300) for process in processes] == [0] * PROCESSES
    client = MlflowClient(store.uri)
    for number in range(PROCESSES * TRIALS):
        run = store.find(trial_job(number).hash8, finished=True)
        assert run is not None
        marks = [(m.step, m.value) for m in client.get_metric_history(run, "mark")]
        assert sorted(marks) == [(e, record(number, e)["mark"]) for e in range(1, EPOCHS + 1)]
