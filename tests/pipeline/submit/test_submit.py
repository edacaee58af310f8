"""`dwszoo submit` against a real Ray head that asks for a token, and against scripted servers."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli import cli
from pipeline.submit.job import PACKAGES, Work
from pipeline.submit.server import JobServer
from zoo_gen import EngineError

ROOT = Path(__file__).parents[3]
PLANTED = ("planted-s3-secret-77aa", "planted-password-of-mlflow-b3")  # in the environment
ZOO_ALONE = """
name: small
description: a zoo alone
source: {kind: digits}
zoo:
  fit: {widths: [2, 6, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}
  split: {train: 7, val: 1, test: 2}
  rows_per_shard: 20
"""


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


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A user's own config, of a zoo alone."""
    file = tmp_path / "small.yaml"
    file.write_text(ZOO_ALONE)
    return file


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
    assert out.split("Running entrypoint")[1].count("the copy speaks") == 1


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
    found = re.search(r"detached; job (\S+) goes on", err)
    assert found is not None
    id = found[1]
    assert f"submit --address {head.address} --attach {id}\n" in err

    _, listed, _ = head.run("--list")
    assert re.search(rf"^{id} +small +RUNNING ", listed, re.MULTILINE)
    again = head.start(*words)
    assert again.stderr is not None
    assert "under way with this config and these options: attached" in again.stderr.readline()

    code, _, err = head.run("--attach", f"{id}x")
    assert code == 1
    assert f"has none of this id; did you mean {id}" in err
    assert head.run("--stop", id)[:2] == (
        0,
        f"job {id} ended; the same submit continues its work: STOPPED\n",
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


MISTAKES = {
    "nothing asked": ([], 2, "got none of them"),
    "two things asked": (["digits", "--list"], 2, "got CONFIG and --list"),
    "an option of another": (["--list", "--limit", "3"], 2, "--limit goes with CONFIG"),
    "no root": (["digits"], 2, "s3://bucket/prefix, or the full path"),
    "a root of here": (["digits", "--root", "data"], 2, "--root: got 'data'"),
    "another kind of root": (["digits", "--root", "gs://b/x"], 2, "or s3://bucket/prefix"),
    "unknown config": (["digist", "--root", "/r"], 2, "did you mean digits"),
    "unknown key": (["digits", "--root", "/r", "--set", "zoo.vews=1"], 2, "did you mean views"),
    "a path of here": (
        ["mnist", "--root", "/r", "--set", "source.path=data"],
        2,
        "source.path: got 'data'",
    ),
    "a store of here": (
        ["digits", "--root", "/r", "--set", "tracking.uri=sqlite:///x.db"],
        2,
        "four slashes",
    ),
    "a password in a URL": (
        ["digits", "--root", "/r", "--set", "tracking.uri=http://me:hidden@host"],
        2,
        "holds a password",
    ),
    "a password in the address": (["--list", "--address", "http://me:hidden@h"], 2, "http://***@h"),
    "a secret of the environment": (["digits", "--root", "s3://hidden-one/x"], 2, "$AWS_SECRET"),
    "a Ray address": (["--list", "--address", "ray://127.0.0.1:1"], 2, "http://127.0.0.1:8265"),
    "nobody there": (["--list", "--address", "http://127.0.0.1:1"], 1, "Connection refused"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_here_in_one_line(
    mistake: str, dwszoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-one")
    arguments, code, message = MISTAKES[mistake]
    if "--address" not in arguments:
        arguments = [*arguments, "--address", "http://127.0.0.1:1"]
    got, _, err = dwszoo("submit", *arguments)
    assert got == code, err
    assert message in err
    assert "hidden" not in err
    assert len([line for line in err.splitlines() if line.startswith("dwszoo: ")]) == 1


@pytest.mark.parametrize("greeting", [b"HTTP/1.0 200 OK\r\n\r\nhello", b"220 mail\r\n", b""])
def test_what_is_no_dashboard_is_told(greeting: bytes, dwszoo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = ["submit", "--list", "--address", f"http://127.0.0.1:{port}"]

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        code, _, err = dwszoo(*command)
        thread.join()
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be used" in err


def test_it_takes_every_option_of_run() -> None:
    own = {"address", "engine"}
    options = {p.name for p in cli.commands["run"].params} - own
    assert options <= {p.name for p in cli.commands["submit"].params}


@pytest.mark.parametrize(
    "options",
    [
        ["--limit", "7", "--workers", "3", "--workers-per-model", "2"],
        ["--set", "seeds=[4, 5]", "--set", 'description=it\'s $HOME; `rm x` "&" *', "--limit", "9"],
    ],
)
def test_the_job_runs_what_was_asked_for(
    options: list[str], dwszoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    works: list[Work] = []
    monkeypatch.setattr(JobServer, "_connect", lambda self: None)
    monkeypatch.setattr(JobServer, "submit", lambda self, work: works.append(work) or stop())

    def stop() -> None:
        raise EngineError("enough")

    words = ["digits", "--root", "/a b", *options]
    assert dwszoo("submit", *words)[2] == "dwszoo: enough\n"
    split = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {works[0].entrypoint}"], capture_output=True, text=True
    ).stdout.splitlines()
    run = cli.commands["run"]
    assert split[:2] == ["dwszoo", "run"]
    asked = run.make_context("run", [*words, "--address", "auto"]).params
    assert run.make_context("run", split[2:]).params == asked


class Server:
    """Stands in for Ray's client: what it answers is scripted, what it is asked is kept."""

    def __init__(self, *jobs: Any) -> None:
        self.all, self.submitted = list(jobs), list[str]()
        self.refusals: list[Callable[[str], None]] = []
        self.streams: list[list[Any]] = []

    def list_jobs(self) -> list[Any]:
        return self.all

    def submit_job(self, submission_id: str, **options: Any) -> None:
        if self.refusals:
            self.refusals.pop()(submission_id)
        self.submitted.append(submission_id)
        self.all.append(job(submission_id, "PENDING"))

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        for piece in self.streams.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece


def job(id: str, status: str) -> Any:
    """Details as Ray gives them."""
    return SimpleNamespace(
        submission_id=id,
        status=status,
        metadata={"config": "c"},
        start_time=1000,
        end_time=2000,
        message="",
        driver_exit_code=None,
    )


@dataclass
class Scripted:
    """A job server in front of a scripted client."""

    client: Server = field(default_factory=Server)

    def server(self, monkeypatch: pytest.MonkeyPatch) -> JobServer:
        monkeypatch.setattr(JobServer, "_connect", lambda _: self.client)
        monkeypatch.setattr(JobServer, "_knock", lambda _: None)
        monkeypatch.setattr("pipeline.submit.server.RECONNECT_SECONDS", 0)
        return JobServer("http://127.0.0.1:1")


WORK = Work("digits", "digits", ("--root", "/r"))


def test_the_same_work_has_one_job_at_a_time_and_each_its_own_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted()
    server = script.server(monkeypatch)
    assert [server.submit(WORK)[1] for _ in range(2)] == [True, False]
    for status in ("FAILED", "STOPPED", "SUCCEEDED"):
        script.client.all[-1].status = status
        assert server.submit(WORK)[1]
    assert script.client.submitted == [WORK.key, f"{WORK.key}.2", f"{WORK.key}.3", f"{WORK.key}.4"]


def test_of_two_who_submit_at_once_one_attaches(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted()
    server = script.server(monkeypatch)

    def other_was_quicker(id: str) -> None:
        script.client.all.append(job(id, "RUNNING"))
        raise RuntimeError(f"Request failed with status code 500: job {id} already exists.")

    script.client.refusals = [other_was_quicker]
    assert server.submit(WORK)[1] is False
    assert script.client.submitted == []


@pytest.mark.parametrize(
    "other",
    [
        Work("digits", "digits", ("--root", "/s")),
        Work("digits", "digits", ("--root", "/r"), upload=True),
        Work("digits", "mnist", ("--root", "/r")),
    ],
)
def test_other_work_has_another_id(other: Work) -> None:
    assert other.key != WORK.key


def test_a_changed_file_is_other_work(small: Path) -> None:
    before = Work("small", small).key
    small.write_text(ZOO_ALONE.replace("steps: 5", "steps: 6"))
    assert Work("small", small).key != before


def test_a_log_is_read_on_where_the_connection_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(Server(job("a", "RUNNING")))
    server = script.server(monkeypatch)

    def end(_: str) -> None:
        script.client.all[0].status = "SUCCEEDED"

    script.client.streams = [
        ["one\n", "two\nth", RuntimeError("closed")],
        ["one\ntwo", ConnectionError("gone")],  # shorter than what was seen
        ["one\ntwo\n", "three\n"],
    ]
    seen: list[str] = []
    said: list[str] = []

    def write(text: str) -> None:
        seen.append(text)
        if "".join(seen).endswith("three\n"):
            end(text)

    assert server.follow("a", write, said.append).status == "SUCCEEDED"
    assert "".join(seen) == "one\ntwo\nthree\n"
    assert said == []


def test_a_reader_who_leaves_is_not_written_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(Server(job("a", "RUNNING")))
    server = script.server(monkeypatch)
    script.client.streams = [["one\n"]]

    def gone(text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        server.follow("a", gone, str)


def test_a_server_that_stays_away_is_told_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(Server(job("a", "RUNNING")))
    server = script.server(monkeypatch)
    script.client.streams = [[ConnectionError("gone")] for _ in range(9)]
    knocks: list[int] = []

    def knock(_: JobServer) -> None:
        knocks.append(1)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(JobServer, "_knock", knock)
    said: list[str] = []
    with pytest.raises(EngineError, match="The job goes on: attach again later"):
        server.follow("a", str, said.append)
    assert (len(knocks), len(said)) == (6, 5)
    assert all("trying again" in line for line in said)


def test_what_travels_is_the_config_and_what_was_asked_for(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "source", tmp_path / "packed"
    for package in PACKAGES:
        (source / package / "__pycache__").mkdir(parents=True)
        (source / package / "__pycache__" / "code.pyc").touch()
        (source / package / "code.py").touch()
    monkeypatch.setattr(
        "pipeline.submit.job.__file__", str(source / "pipeline" / "submit" / "job.py")
    )
    folder.mkdir()
    work = Work("small", small, upload=True)
    work.pack(folder)
    packed = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert packed == {"config/small.yaml", *(f"{package}/code.py" for package in PACKAGES)}
    assert shlex.split(work.entrypoint)[4] == "config/small.yaml"
    assert (folder / "config" / "small.yaml").read_text() == ZOO_ALONE
