"""The job server of a Ray cluster, through Ray's `JobSubmissionClient`.

A job belongs to the cluster, not to who submitted it: anybody can read its log from the beginning,
and reading resumes where a connection broke.
"""

from __future__ import annotations

import asyncio
import difflib
import http.client
import json
import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster_job import ClusterJob
from zoo_gen.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

PROBE_SECONDS = 5
QUIET_SECONDS = 60  # after which a silent log is requested again
RECONNECTS, RECONNECT_SECONDS = 5, 2.0
# A job is stopped as by Ctrl-C, so that its runs in MLflow are closed. No more than this is set in
# a job's environment: whoever sees the dashboard sees it.
STOP_AS_CTRL_C = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "30"}
NOISY = ("ray", "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk")
OTHERS_ADDRESS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class JobServer:
    """The job server of a cluster.

    Args:
        address: ``http://HOST:PORT`` of the dashboard. The token of a cluster that asks for one is
            taken by Ray's client itself (``RAY_AUTH_MODE=token``, and ``RAY_AUTH_TOKEN``,
            ``RAY_AUTH_TOKEN_PATH`` or ``~/.ray/auth_token``).

    Raises:
        ConfigError: the address is of another kind.
        EngineError: nobody answers there within seconds, or it is no job server. Every method
            raises it, where the server is gone or refuses.
    """

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"https?://[^\s/@]+(:\d+)?/?", address):
            raise ConfigError(
                f"--address: got {_without_password(address)!r}, expected that of the cluster's "
                "dashboard, such as http://127.0.0.1:8265 (a token comes from the environment)"
            )
        self.address = address.rstrip("/")
        with self._readable_errors():
            self._client = self._connect()

    def _connect(self) -> Any:
        self._probe()
        from ray.job_submission import JobSubmissionClient

        for module in NOISY:  # uploads, closed sockets
            logging.getLogger(module).setLevel(logging.WARNING)
        # Ray would use these instead of the address
        kept = {name: os.environ.pop(name) for name in OTHERS_ADDRESS if name in os.environ}
        try:
            return JobSubmissionClient(self.address)
        finally:
            os.environ.update(kept)

    def _probe(self) -> None:
        """Raise `OSError` unless a Ray answers at once: the client itself would wait for ever."""
        try:
            with urllib.request.urlopen(
                f"{self.address}/api/version", timeout=PROBE_SECONDS
            ) as answer:
                known = "ray_version" in json.load(answer)
        except urllib.error.HTTPError as error:
            known = error.code in (401, 403)  # it asks for a token, which the client has
        except (ValueError, http.client.HTTPException):
            known = False
        if not known:
            raise OSError("what answers there is no Ray dashboard")

    def jobs(self) -> dict[str, JobDetails]:
        """Id -> job, of all submitted jobs, the oldest first."""
        with self._readable_errors():
            found = {job.submission_id: job for job in self._client.list_jobs()}
        found.pop(None, None)  # of drivers that nobody submitted
        return dict(sorted(found.items(), key=lambda i: (i[1].start_time or float("inf"), i[0])))

    def job(self, id: str) -> JobDetails:
        """The job of this id.

        Raises:
            EngineError: there is none; names the nearest.
        """
        jobs = self.jobs()
        if id not in jobs:
            near = difflib.get_close_matches(id, jobs, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}" if near else "`dwszoo submit --list` shows all"
            raise EngineError(f"job {id}: there is none of this id at {self.address}; {hint}")
        return jobs[id]

    def submit(self, job: ClusterJob) -> tuple[str, bool]:
        """Start a job, unless the same one is running.

        Returns:
            Its id, and whether it is new. The id is the job's key, with a number from the second
            time on.
        """
        while True:
            ids = re.compile(rf"{re.escape(job.key)}(\.\d+)?")
            same = {id: found for id, found in self.jobs().items() if ids.fullmatch(id)}
            for id, found in same.items():
                if not found.status.is_terminal():
                    return id, False
            numbers = [int(id[len(job.key) + 1 :] or 1) for id in same]
            id = f"{job.key}.{max(numbers) + 1}" if numbers else job.key
            try:
                self._submit(job, id)
            except EngineError as error:
                if "already exists" in str(error):  # somebody else submitted the same just now
                    continue
                raise
            return id, True

    def _submit(self, job: ClusterJob, id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="dwszoo-job-") as folder:
            environment: dict[str, Any] = {"env_vars": STOP_AS_CTRL_C}
            job.pack(Path(folder))
            if any(Path(folder).iterdir()):
                environment["working_dir"] = folder
            with self._readable_errors():
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    submission_id=id,
                    runtime_env=environment,
                    metadata={"config": job.name},
                )

    def stop(self, id: str) -> JobDetails:
        """Stop a job, as Ctrl-C would, and wait until it has ended.

        Returns:
            The job; it may have ended before.
        """
        if not (job := self.job(id)).status.is_terminal():
            with self._readable_errors():
                self._client.stop_job(id)
            while not (job := self.job(id)).status.is_terminal():
                time.sleep(0.3)
        return job

    def follow(
        self, id: str, write: Callable[[str], object], say: Callable[[str], object]
    ) -> JobDetails:
        """Read a job's log from its beginning until the job has ended.

        Args:
            id: of the job.
            write: takes the log, piece by piece; no piece comes twice.
            say: takes a line about a connection that broke, or a job that waits.

        Returns:
            The job, ended.
        """
        return asyncio.run(self._follow(id, write, say))

    async def _follow(
        self, id: str, write: Callable[[str], object], say: Callable[[str], object]
    ) -> JobDetails:
        seen = failures = 0
        while True:
            skip = seen  # a log always starts at its beginning
            stream = self._client.tail_job_logs(id)
            while text := await _next(stream):
                seen += len(text[skip:])
                write(text[skip:])
                skip = max(0, skip - len(text))
            try:
                with self._readable_errors():
                    self._probe()
                job, failures = self.job(id), 0
            except EngineError as error:
                if (failures := failures + 1) > RECONNECTS:
                    raise EngineError(f"{error}. The job goes on: attach again later") from error
                say(f"{error}; trying again")
            else:
                if job.status.is_terminal():
                    return job
                if job.status == "PENDING":
                    say(f"job {id} is pending: {last_line(job.message or '')}")
            await asyncio.sleep(RECONNECT_SECONDS)

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Turn what Ray's client, requests and aiohttp raise into one line."""
        try:
            yield
        except Exception as error:
            if not _expected(error):
                raise
            if type(error).__name__ == "AuthenticationError":
                raise EngineError(
                    f"the cluster at {self.address} asks for its token; set RAY_AUTH_MODE=token, "
                    "with the token in ~/.ray/auth_token or in the file RAY_AUTH_TOKEN_PATH"
                ) from error
            reason = last_line(str(getattr(error, "reason", None) or error))
            raise EngineError(
                f"the job server at {self.address} cannot be used: "
                f"{reason or type(error).__name__}; check --address, and that the tunnel is open "
                "(`ray dashboard cluster.yaml`)"
            ) from error


def last_line(text: str) -> str:
    """The last line that is not empty, or nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


async def _next(stream: AsyncIterator[str]) -> str:
    """The next piece of a log; nothing at its end, or where it is silent or broke for now."""
    try:
        return await asyncio.wait_for(anext(stream, ""), QUIET_SECONDS)
    except Exception as error:
        if not _expected(error):
            raise
        return ""


def _expected(error: Exception) -> bool:
    """Whether an error is of the network or of Ray's server, not of this code."""
    library = type(error).__module__.split(".")[0]
    # RuntimeError is all that Ray's client makes of an answer that is not 200
    known = isinstance(error, OSError) or type(error) is RuntimeError
    return known or library in ("requests", "aiohttp", "ray")


def _without_password(address: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", address)
