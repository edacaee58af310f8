"""A whole run with everything on a real object store, and no credential in what it leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness import ENVIRONMENT
from servers import KEY, USER, Mlflow, Swift, environment

from pipeline.commands.cli import status
from zoo_gen import Store

CONFIG = """
name: small
description: forty digits
source: {kind: digits}
limit: 40
zoo:
  fit: {widths: [2, 6, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}
  split: {train: 7, val: 1, test: 2}
  views: 3
  rows_per_shard: 50
models:
  mlp:
    network: {kind: mlp, hidden: [8]}
    training: {epochs: 2}
seeds: [0]
"""
PASSWORD, TOKEN = "planted-database-password-9a77", "planted-token-of-another-c0de"
SECRETS = (KEY, PASSWORD, TOKEN)
ROOT = "s3://zoo/all"


@dataclass
class Place:
    """Where commands run that know secrets.

    Attributes:
        config: the config's file.
        folder: with the logs of Ray, and the database and log of MLflow's server.
        environment: of the commands.
        said: all that they said.
    """

    config: Path
    folder: Path
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)

    def dwszoo(self, *words: object) -> str:
        """Run a command that must succeed; what it said to standard output."""
        ran = subprocess.run(
            [sys.executable, "-m", "pipeline", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.said += [ran.stdout, ran.stderr]
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def place(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A config, an MLflow server whose artifacts are on S3, and secrets in the environment."""
    folder = Path(tempfile.mkdtemp(prefix="dz", dir="/tmp"))  # short: Ray's sockets lie in it
    config = tmp_path_factory.mktemp("config") / "small.yaml"
    config.write_text(CONFIG)
    server = Mlflow(folder, f"{ROOT}/mlartifacts")
    more = {
        "MLFLOW_TRACKING_URI": f"http://somebody:{PASSWORD}@127.0.0.1:{server.port}",
        "SOME_TOKEN": TOKEN,
        "RAY_TMPDIR": str(folder),
    }
    s3 = environment(swift.port, USER, KEY)
    try:
        yield Place(config, folder, {**os.environ, **ENVIRONMENT, **s3, **more})
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def done(place: Place) -> Place:
    """After a run of everything, the same again, and each step of its own."""
    place.dwszoo("run", place.config, "--root", ROOT)
    return place


def objects(folder: str = "") -> dict[str, bytes]:
    """Every object below the root."""
    store, found = Store(ROOT), {}
    for name in store.names(folder):
        path = f"{folder}/{name}" if folder else name
        below = objects(path) if not store.filesystem.isfile(store.url(path)) else {}
        found |= below or {path: store.read(path)}
    return found


def test_a_run_leaves_zoo_models_report_and_artifacts_on_s3(done: Place) -> None:
    found = objects()
    ends = {path.rsplit("/", 1)[-1] for path in found}
    assert {"zoo.json", "part-00002.parquet", "model.safetensors", "report.md"} <= ends
    assert {"MLmodel", "config.yaml", "accuracy.png"} <= {
        path.rsplit("/", 1)[-1] for path in found if path.startswith("mlartifacts/")
    }
    assert [path for path in found if path.startswith("checkpoints/")] == []


def test_the_zoo_on_s3_has_the_bytes_of_a_local_one(done: Place, tmp_path: Path) -> None:
    done.dwszoo("generate", done.config, "--root", tmp_path, "--engine", "local")
    local = {f.relative_to(tmp_path).as_posix(): f for f in tmp_path.rglob("part-*")}
    found = objects("zoos")
    assert len(local) == 3
    assert {path: found[path] for path in local} == {p: f.read_bytes() for p, f in local.items()}


def test_every_step_finds_on_s3_what_is_done(done: Place) -> None:
    before = objects()
    out = done.dwszoo("report", done.config, "--root", ROOT)
    assert f"report  {ROOT}/reports/small-" in out
    done.dwszoo("train", done.config, "--root", ROOT)
    assert "models: all 1 are trained" in done.said[-1]
    zoo = next(path for path in before if path.endswith("zoo.json")).removesuffix("/zoo.json")
    assert "all 3 shards are intact" in done.dwszoo("inspect", f"{ROOT}/{zoo}", "--verify")


FAILURES: dict[str, tuple[list[str], dict[str, str], str]] = {
    "another key": (
        ["generate", "CONFIG", "--root", "s3://zoo/no", "--engine", "local"],
        {"AWS_SECRET_ACCESS_KEY": TOKEN},
        "s3://zoo/no",
    ),
    "no server": (
        ["train", "CONFIG", "--root", ROOT],
        {"MLFLOW_TRACKING_URI": f"http://somebody:{PASSWORD}@127.0.0.1:9"},
        "the MLflow store http://***@127.0.0.1:9 cannot be used",
    ),
    "no database": (
        ["train", "CONFIG", "--root", ROOT],
        {"MLFLOW_TRACKING_URI": f"postgresql://somebody:{PASSWORD}@127.0.0.1:9/runs"},
        "the MLflow store postgresql://***@127.0.0.1:9/runs cannot be used",
    ),
    "a root with a key": (
        ["run", "CONFIG", "--root", f"s3://somebody:{KEY}@zoo/x"],
        {},
        "got an address with credentials in it",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_tells_no_credential(
    failure: str, done: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from mlflow.store.db import utils
    from s3fs import S3FileSystem

    monkeypatch.setattr(utils, "MAX_RETRY_COUNT", 1)  # of MLflow, for a database
    words, changes, message = FAILURES[failure]
    for name, value in (done.environment | changes).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    try:
        code = status([str(done.config) if word == "CONFIG" else word for word in words])
    finally:
        S3FileSystem.clear_instance_cache()
    out, err = capfd.readouterr()
    assert code in (1, 2)
    assert message in err
    assert [secret for secret in SECRETS if secret in out + err] == []


def test_no_credential_is_in_anything_that_is_left(done: Place) -> None:
    left = {f"command {i}": text.encode() for i, text in enumerate(done.said)}
    left |= {f"{ROOT}/{path}": data for path, data in objects().items()}
    left |= {str(f): f.read_bytes() for f in done.folder.rglob("*") if f.is_file()}
    assert any("/logs/" in name for name in left)  # Ray's
    assert any(name.endswith("/server.db") for name in left)
    found = [(n, s) for n, data in left.items() for s in SECRETS if s.encode() in data]
    assert found == []
