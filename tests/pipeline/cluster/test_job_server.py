"""Jobs sent, followed and found again, against a scripted server of Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from pipeline.cluster_job import ClusterJob
from pipeline.job_server import JobServer
from zoo_gen import EngineError


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
        status=JobStatus(status),
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
        monkeypatch.setattr(JobServer, "_probe", lambda _: None)
        monkeypatch.setattr("pipeline.job_server.RECONNECT_SECONDS", 0)
        return JobServer("http://127.0.0.1:1")


JOB = ClusterJob("digits", "digits", ("--root", "/r"))


def test_the_same_work_has_one_job_at_a_time_and_each_its_own_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted()
    server = script.server(monkeypatch)
    assert [server.submit(JOB)[1] for _ in range(2)] == [True, False]
    for status in ("FAILED", "STOPPED", "SUCCEEDED"):
        script.client.all[-1].status = JobStatus(status)
        assert server.submit(JOB)[1]
    assert script.client.submitted == [JOB.key, f"{JOB.key}.2", f"{JOB.key}.3", f"{JOB.key}.4"]


def test_of_two_who_submit_at_once_one_attaches(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted()
    server = script.server(monkeypatch)

    def other_was_quicker(id: str) -> None:
        script.client.all.append(job(id, "RUNNING"))
        raise RuntimeError(f"Request failed with status code 500: job {id} already exists.")

    script.client.refusals = [other_was_quicker]
    assert server.submit(JOB)[1] is False
    assert script.client.submitted == []


def test_a_log_is_read_on_where_the_connection_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(Server(job("a", "RUNNING")))
    server = script.server(monkeypatch)

    def end(_: str) -> None:
        script.client.all[0].status = JobStatus("SUCCEEDED")

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

    monkeypatch.setattr(JobServer, "_probe", knock)
    said: list[str] = []
    with pytest.raises(EngineError, match="The job goes on: attach again later"):
        server.follow("a", str, said.append)
    assert (len(knocks), len(said)) == (6, 5)
    assert all("trying again" in line for line in said)
