"""What `dwszoo submit` refuses and what it asks of a cluster, without one."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

from pipeline.cluster_job import ClusterJob
from pipeline.commands.cli import cli
from pipeline.job_server import JobServer
from zoo_gen import EngineError

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
    works: list[ClusterJob] = []
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
