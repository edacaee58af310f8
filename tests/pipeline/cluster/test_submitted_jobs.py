"""`dwszoo submit` against a real Ray head that asks for a token."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.cluster_job import PACKAGES

ROOT = Path(__file__).parents[3]
PLANTED = ("planted-s3-secret-77aa", "planted-password-of-mlflow-b3")  # in the environment


@dataclass
class Head:
    """A running Ray head and how to speak to it."""

    address: str
    environment: dict[str, str]
    folder: Path
    token: str
    said: list[str] = field(default_factory=list)

    def start(self, *arguments: object, **changes: str) -> subprocess.Popen[str]:
        """Start ``dwszoo submit`` here."""
        words = [str(a) for a in arguments]
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", "submit", *words, "--address", self.address],
            cwd=changes.pop("PYTHONPATH", ROOT),
            env=self.environment | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, **changes: str) -> tuple[int, str, str]:
        """Run ``dwszoo submit`` to its end: exit status, standard output, standard error."""
        process = self.start(*arguments, **changes)
        out, err = process.communicate(timeout=300)
        self.said += [out, err]
        assert "Traceback" not in err
        return process.returncode, out, err


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A Ray head of two CPUs on loopback, with dashboard, job server and token."""
    pytest.importorskip("ray.dashboard.modules.job.sdk")
    token = secrets.token_hex(16)
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(token)
    folder = Path(tempfile.mkdtemp(prefix="dz", dir="/tmp"))  # short: sockets lie in it
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(file),
        "AWS_SECRET_ACCESS_KEY": PLANTED[0],
        "MLFLOW_TRACKING_URI": f"http://somebody:{PLANTED[1]}@127.0.0.1:9",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    port = free_port()
    ray = str(Path(sys.executable).with_name("ray"))
    command = f"{ray} start --head --block --port=0 --node-ip-address=127.0.0.1 --num-cpus=2"
    command += f" --include-dashboard=true --dashboard-port={port} --temp-dir={folder}"
    # its usual port is taken where another Ray runs on this machine
    command += f" --dashboard-agent-listen-port={free_port()}"
    command += " --object-store-memory=100000000 --disable-usage-stats"
    with (folder / "start.log").open("w") as log:
        process = subprocess.Popen(command.split(), env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or answers(port), 90)
        assert process.poll() is None, (folder / "start.log").read_text()
        yield Head(f"http://127.0.0.1:{port}", environment, folder, token)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether the dashboard has started."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=1)
    except OSError as error:
        return getattr(error, "code", None) == 401
    return True


def wait_for(happened: Callable[[], object], seconds: float = 60) -> None:
    """Poll until something has happened."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.2)


def shards(root: Path) -> list[bytes]:
    """The content of all shards below a root."""
    return [f.read_bytes() for f in sorted(root.rglob("part-*.parquet"))]


def test_a_job_makes_what_the_command_makes_and_its_log_is_shown(
    head: Head, small: Path, tmp_path: Path, dwszoo
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert dwszoo("run", small, "--root", here, "--limit", 60, "--engine", "local")[0] == 0
    code, out, err = head.run(small, "--root", there, "--limit", 60)
    assert code == 0, out + err
    assert shards(there) == shards(here) != []
    assert "fitting zoo small" in out
    assert out.splitlines()[-1].startswith(f"{there}/zoos/small-")
    assert re.search(r"job dwszoo-small-[0-9a-f]{8} submitted\njob .* succeeded in", err)


def test_uploaded_packages_are_the_ones_that_run(head: Head, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package)
    with (copy / "pipeline" / "__init__.py").open("a") as file:
        file.write('\nprint("the copy speaks")\n')
    words = (small, "--upload", "--root", tmp_path / "root", "--limit", 20)
    code, out, err = head.run(*words, PYTHONPATH=str(copy))
    assert code == 0, out + err
    assert out.count("the copy speaks") == 2  # in the command here, and in the job


def test_a_job_that_fails_ends_the_command_with_its_last_line(head: Head, tmp_path: Path) -> None:
    words = ("mnist", "--root", tmp_path, "--set", "source.path=/nowhere")
    code, out, err = head.run(*words)
    last = "source.path: /nowhere is not a directory"
    assert code == 1
    assert f"dwszoo: {last}" in out.splitlines()[-1]
    assert re.search(rf"^dwszoo: job dwszoo-mnist-\w+ failed: {last}", err.splitlines()[-1])


def test_leaving_a_job_coming_back_and_stopping_it(head: Head, small: Path, tmp_path: Path) -> None:
    words = (
        small,
        "--root",
        tmp_path / "r",
        "--set",
        "zoo.fit.steps=60000",
        "--set",
        "zoo.views=9",
    )
    first = head.start(*words)
    assert first.stdout is not None
    wait_for(lambda: "Running entrypoint" in first.stdout.readline())
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130
    found = re.search(r"detached; job (\S+) continues", err)
    assert found is not None
    id = found[1]
    assert f"submit --address {head.address} --attach {id}\n" in err

    _, listed, _ = head.run("--list")
    assert re.search(rf"^{id} +small +RUNNING ", listed, re.MULTILINE)
    again = head.start(*words)
    assert again.stderr is not None
    assert "running with this config and these options: attached" in again.stderr.readline()

    code, _, err = head.run("--attach", f"{id}x")
    assert code == 1
    assert f"did you mean {id}" in err
    assert head.run("--stop", id)[:2] == (
        0,
        f"job {id} ended; the same submit continues it: STOPPED\n",
    )
    out, err = again.communicate(timeout=60)
    assert again.returncode == 1
    assert f"job {id} was stopped" in err
    assert "interrupted; the same command continues" in out  # as by Ctrl-C, not killed
    assert head.run("--stop", id)[:2] == (0, f"job {id} had ended before: STOPPED\n")


def test_without_the_token_one_line_says_where_it_comes_from(head: Head) -> None:
    code, out, err = head.run("--list", RAY_AUTH_MODE="disabled")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "asks for its token; set RAY_AUTH_MODE=token" in err


def test_an_address_in_the_environment_does_not_win(head: Head) -> None:
    assert head.run("--list", RAY_ADDRESS="http://127.0.0.1:1")[0] == 0


def test_no_secret_is_in_anything_that_jobs_left(head: Head, tmp_path: Path) -> None:
    assert head.run("digits", "--root", tmp_path, "--limit", 40)[0] == 1  # there is no MLflow
    left = {str(f): f.read_bytes() for f in head.folder.rglob("*") if f.is_file()}
    assert any("/logs/job-driver-" in name for name in left)
    left |= {f"command {i}": text.encode() for i, text in enumerate(head.said)}
    secrets = [head.token, *PLANTED]
    assert [(n, s) for n, data in left.items() for s in secrets if s.encode() in data] == []
