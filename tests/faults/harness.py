"""What the tests of faults are made of: drivers, nodes, waiting."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripted import Scripted, recipe

from zoo_gen import Store

HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
ENVIRONMENT = {"PYTHONPATH": PYTHONPATH, "RAY_AUTH_MODE": "disabled"}
# a dead node is noticed in seconds rather than half a minute
HEALTH = {"health_check_period_ms": 500, "health_check_timeout_ms": 500}
HEALTH |= {"health_check_failure_threshold": 2, "health_check_initial_delay_ms": 0}

Shards = dict[str, bytes]


def shards(store: Store) -> Shards:
    """Every shard of the scripted zoo that is listed, with its bytes."""
    folder = f"{recipe().folder}/shards"
    return {name: store.read(f"{folder}/{name}") for name in store.names(folder)}


class Driver:
    """A user's command in a process of its own.

    Args:
        folder: of the test.
        signals: what it fits.
        root: where to.
        where: on what it runs (`driver.main`).
        more: arguments and environment.
    """

    def __init__(self, folder: Path, signals: Scripted, root: str, where: str, **more: str) -> None:
        job = folder / "job.pickle"
        job.write_bytes(pickle.dumps((recipe(), signals)))
        retry_seconds = more.pop("retry_seconds", "60")
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".said", delete=False) as words:
            self.words = Path(words.name)
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "driver.py"), str(job), root, where, retry_seconds],
                env={**os.environ, **ENVIRONMENT, **more},
                stderr=words,
            )

    def said(self) -> str:
        """What it has said so far."""
        return self.words.read_text()

    def ends(self, seconds: float = 400) -> tuple[int, str]:
        """Its exit status and what it said."""
        return self.process.wait(timeout=seconds), self.said()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


Drive = Callable[..., Driver]


def add_node(cluster: Any) -> Any:
    """A node of one CPU."""
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


def until(ready: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    """Wait until something is there, and give it."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


Tell = Callable[..., None]
"""Of `conftest.tell`: a row of the table of faults."""


def begun(folder: Path, shard: int, attempt: int = 0) -> Callable[[], bool]:
    """Whether this attempt at this shard has left its trace."""
    return lambda: (
        (folder / f"{shard}-{attempt}").exists()
        and bool((folder / f"{shard}-{attempt}").read_text())
    )
