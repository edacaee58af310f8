"""A logged model without our packages: loaded in a fresh process, served, and looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from zoo_gen import Store, ZooReader

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
FLAGS += ["--disable-background-networking", "--virtual-time-budget=30000"]
FLAGS += ["--window-size=1400,3000"]
SECONDS = 120
STRICT = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def environment(root: Path) -> dict[str, str]:
    """Where MLflow's own commands look for runs, and for what they start."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "PATH": path}


@contextmanager
def served(command: list[str], path: str, **environ: str) -> Iterator[str]:
    """The address of one of MLflow's servers, on a free port, once it answers at a path."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(url + path, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > end:
                    with suppress(ProcessLookupError):  # it ended by itself, and says why
                        os.killpg(process.pid, signal.SIGKILL)
                    raise AssertionError(process.communicate()[0].decode()[-2000:]) from None
                time.sleep(0.3)
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def model(reported: Path) -> str:
    """The champion's address in the registry."""
    from mlflow import MlflowClient

    (found,) = MlflowClient(f"sqlite:///{reported}/mlflow.db").search_registered_models()
    return f"models:/{found.name}@champion"


@pytest.fixture(scope="module")
def asked(reported: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a few networks, and the logits that the model's own file gives for them."""
    from training.model_file import decode
    from training.tracking.registry import fetch

    (name,) = Store(str(reported)).names("zoos")
    theta = ZooReader(Store(str(reported)), f"zoos/{name}").rows(0, 5).theta
    ours = decode(fetch(f"sqlite:///{reported}/mlflow.db", model)[1], "file")
    return theta.numpy(), ours.predict(theta).numpy()


def predicted(
    reported: Path, model: str, weights: np.ndarray, folder: Path
) -> subprocess.CompletedProcess[str]:
    """A fresh process without our packages and without pickle, which loads and predicts."""
    np.save(folder / "theta.npy", weights)
    program = (
        "import sys\n"
        "for name in ('dws', 'zoo_gen', 'training', 'pipeline'): sys.modules[name] = None\n"
        "import mlflow, numpy as np\n"
        f"model = mlflow.pyfunc.load_model({model!r})\n"
        "told = model.predict(np.load(sys.argv[1] + '/theta.npy'))\n"
        "np.save(sys.argv[1] + '/told.npy', told)"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env={**environment(reported), **STRICT},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_fresh_process_predicts_without_our_packages_and_without_pickle(
    reported: Path, model: str, asked: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    weights, expected = asked
    ran = predicted(reported, model, weights, tmp_path)
    assert ran.returncode == 0, ran.stderr[-1000:]
    np.testing.assert_allclose(np.load(tmp_path / "told.npy"), expected, rtol=1e-4, atol=1e-5)


def test_code_in_a_program_is_refused(
    reported: Path, model: str, asked: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{reported}/mlflow.db")
    try:
        folder = Path(mlflow.artifacts.download_artifacts(model, dst_path=str(tmp_path / "model")))
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    (program,) = folder.rglob("model.pt2")
    hostile = f"cbuiltins\nopen\n(S'{tmp_path}/run'\nS'w'\ntR.".encode()
    with zipfile.ZipFile(program) as old:
        records = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(program, "w", zipfile.ZIP_STORED) as new:
        for name, content in records.items():
            new.writestr(name, hostile if "sample_inputs" in name else content)
    ran = predicted(reported, str(folder), asked[0], tmp_path)
    assert ran.returncode != 0
    assert "is not a pickle-free payload" in ran.stderr
    assert not (tmp_path / "run").exists()


def test_a_server_answers_with_what_the_model_says(
    reported: Path, model: str, asked: tuple[np.ndarray, np.ndarray]
) -> None:
    weights, expected = asked
    command = ["models", "serve", "-m", model, "--env-manager", "local"]
    with served(command, "/ping", **{**environment(reported), **STRICT}) as url:
        request = urllib.request.Request(
            f"{url}/invocations",
            json.dumps({"inputs": weights.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.loads(answer.read())["predictions"]
    np.testing.assert_allclose(told, expected, rtol=1e-4, atol=1e-5)


def test_mlflows_page_shows_the_run_and_its_metric(reported: Path, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id], "tags.model = 'mlp'")
    run = runs[0]
    value = run.data.metrics["test_accuracy"]
    command = ["server", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{reported}/mlflow.db"]
    with served(command, "/health", **environment(reported)) as url:
        place = f"{url}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
        ran = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'user'}", place],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    page = re.sub("<[^>]*>", " ", ran.stdout)
    assert run.info.run_name in page
    assert re.search(rf"test_accuracy\s+{value:.4g}", page), page[-3000:]
