"""An MLflow server of one's own, its runs in PostgreSQL: `make mlflow-server`.

    python deploy/mlflow_server.py --folder DIR --port 5000
    export MLFLOW_TRACKING_URI=http://127.0.0.1:5000

Everything is stored below DIR: the database in DIR/postgres, artifacts in DIR/artifacts. The server
listens on loopback alone, and PostgreSQL on no network at all: only on a socket in a folder that
others cannot enter, so that there is no password to keep. Ctrl-C ends both; the same command goes
on with what is there. For a service of many users: deploy/mlflow.service.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

USER = DATABASE = "mlflow"
START_SECONDS = 90
STOP_SECONDS = 30


class CannotServe(Exception):
    """Why there is no server, and what to do."""


def program(name: str) -> str:
    """One of PostgreSQL's programs; Debian keeps them off the path.

    Raises:
        CannotServe: it is not installed.
    """
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    if found := shutil.which(name) or shutil.which(
        name, path=os.pathsep.join(map(str, places[-1:]))
    ):
        return found
    raise CannotServe(
        f"PostgreSQL is not installed ({name} is missing): apt-get install postgresql. Without a "
        "server nothing needs it: runs then go to SQLite below the root"
    )


def as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as its own user."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def call(*command: str) -> None:
    """Run one of PostgreSQL's programs to its end."""
    ran = subprocess.run(command, capture_output=True, text=True, cwd="/", **as_whom())
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip().splitlines() or [f"exit status {ran.returncode}"]
        raise CannotServe(f"{Path(command[0]).name} failed: {said[-1]}")


@contextmanager
def running(
    command: list[str], stop: signal.Signals, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which Ctrl-C does not reach; stopped at the end."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, stop)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A PostgreSQL whose files lie in this folder: its address for MLflow."""
    initdb, postgres, ready = map(program, ("initdb", "postgres", "pg_isready"))
    if importlib.util.find_spec("psycopg") is None:
        raise CannotServe("psycopg is not installed: pip install 'dwszoo[postgres]'")
    new = not (folder / "PG_VERSION").is_file()
    with tempfile.TemporaryDirectory(prefix="dwszoo-pg-") as sockets:
        for place in (folder, Path(sockets)):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700)
            if whom := as_whom():
                shutil.chown(place, **whom)
        if new:
            call(initdb, "-D", str(folder), "-U", USER, "--auth=trust", "--no-instructions")
        command = [postgres, "-D", str(folder), "-k", sockets, "-c", "listen_addresses="]
        log = (folder.parent / "postgres.log").open("ab")
        with log, running(command, signal.SIGINT, stderr=log, cwd="/", **as_whom()) as process:
            until(
                lambda: not subprocess.run([ready, "-q", "-h", sockets]).returncode,
                process,
                f"PostgreSQL did not start: see {log.name}",
            )
            if new:
                call(program("createdb"), "-h", sockets, "-U", USER, DATABASE)
            yield f"postgresql+psycopg://{USER}@/{DATABASE}?host={sockets}"


def until(done: Any, process: subprocess.Popen[bytes], otherwise: str) -> None:
    """Wait for something a process does, as long as it lives."""
    end = time.monotonic() + START_SECONDS
    while not done():
        if process.poll() is not None or time.monotonic() > end:
            raise CannotServe(otherwise)
        time.sleep(0.1)


def responds(url: str) -> bool:
    """Whether an MLflow server is up there."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def serve(folder: Path, port: int) -> None:
    """Run both until someone ends it."""
    with socket.socket() as probe:
        if not probe.connect_ex(("127.0.0.1", port)):
            raise CannotServe(f"port {port} is taken: choose another with --port")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        address = stack.enter_context(database(folder / "postgres"))
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--workers", "2", "--backend-store-uri", address]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        log = stack.enter_context((folder / "mlflow.log").open("ab"))
        quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        # the runners of its GenAI jobs, of no use here: 8 of 13 processes, 1.4 of 2.0 GB (3.17.2)
        quiet.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        server = stack.enter_context(
            running(command, signal.SIGTERM, stdout=log, stderr=log, env=quiet)
        )
        until(lambda: responds(url), server, f"MLflow did not start: see {log.name}")
        print(f"MLflow  {url}  (runs in PostgreSQL, all below {folder}; Ctrl-C ends it)")
        print(f"  export MLFLOW_TRACKING_URI={url}", flush=True)
        if server.wait():
            raise CannotServe(f"MLflow ended: see {log.name}")


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("dwszoo-data/mlflow-server"))
    parser.add_argument("--port", type=int, default=5000)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(given.folder, given.port)
    except CannotServe as error:
        print(f"mlflow-server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
