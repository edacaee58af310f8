"""Shared by all tests: where real data lies, one Ray session, nothing left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback alone
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)
# a shell's job in the background ignores it, and so would all that tests start and interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

DATA = Path(os.environ.get("DWSZOO_DATA", Path(__file__).parents[2] / "shared" / "data"))

OF_PROCESSES = (
    "tests/faults/",
    "tests/pipeline/cluster/",
    "tests/pipeline/test_commands.py",
    "tests/training/test_ray_engine.py",
    "tests/training/search/test_ray_tune.py",
)
"""Most of the tests that start Ray and wait for it, about half of all by their time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With the two workers of `make test`, those `OF_PROCESSES` first: one worker has them all."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(OF_PROCESSES))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Deal those `OF_PROCESSES` to one worker, as they would be in each other's way, and files of
    the rest to the other. (xdist 3.8's own groups have no effect with pytest 9.2.)
    """

    class Dealt(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "processes" if nodeid.startswith(OF_PROCESSES) else nodeid.partition("::")[0]

    return Dealt(config, log)


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The directory of the four real MNIST files."""
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST files in {folder} (set DWSZOO_DATA)")
    return folder


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The directory of real CIFAR-10 in Parquet files."""
    folder = DATA / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no CIFAR-10 files in {folder} (set DWSZOO_DATA)")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[int]:
    """One Ray for all tests that need it: two CPUs, on loopback."""
    from zoo_gen.make.ray_engine import cluster

    with cluster(workers=2) as cpus:
        yield cpus
