"""Drivers, clusters of real raylets and object stores for the tests of faults.

``pytest tests/faults --fault-table FILE`` writes what they found as a table (``docs/faults.md``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ENVIRONMENT, HEALTH, Drive, Driver, Shards, Tell, shards
from scripted import SHARDS, Scripted, attempts, recipe
from servers import KEY, SWIFT, USER, Moto, Swift, environment, make_bucket

from zoo_gen import LocalEngine, Store
from zoo_gen.make.generate import generate

COLUMNS = ("fault", "lost", "attempts", "at work again after")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", type=Path, help="write a table of all faults to this file")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The rows that tests have told, in the order of the tests, if they all passed."""
    file: Path | None = config.getoption("--fault-table", None)
    if file is None:
        return
    passed = terminalreporter.stats.get("passed", [])
    rows = [row for report in passed for name, row in report.user_properties if name == "fault"]
    lines = [" | ".join(row) for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    file.write_text("".join(f"| {line} |\n" for line in lines))


@pytest.fixture
def tell(record_property: Any) -> Tell:
    """Tells a row of the table: ``tell(fault, traces, since, until)`` of a zoo's fault.

    Args of what is given:
        fault: in words.
        traces: folder of the traces of all attempts; or the words for them.
        since: when it struck, or the trace of the attempt that it struck.
        until: the trace of the attempt that made up for it; or when that was; None where nothing
            had to be made up for.
        lost: in words.
    """

    def row(
        fault: str, traces: Path | str, since: Any = 0, until: Any = None, lost: str = ""
    ) -> None:
        if isinstance(traces, Path):
            since, until = (
                (traces / x).stat().st_mtime if isinstance(x, str) else x for x in (since, until)
            )
            counts = attempts(traces)
            more = ", ".join(f"shard {s} {n} times" for s, n in counts.items() if n > 1)
            told = f"{sum(counts.values())} for {SHARDS} shards" + (f" ({more})" if more else "")
            lost = lost or "nothing: the same bytes"
        else:
            told = traces
        after = "it never stopped" if until is None else f"{until - since:.1f} s"
        record_property("fault", (fault, lost, told, after))

    return row


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The zoo as it is where nothing goes wrong."""
    store = Store(str(tmp_path_factory.mktemp("undisturbed")))
    generate(store, recipe(), Scripted.of(tmp_path_factory.mktemp("traces")), LocalEngine())
    return shards(store)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """Starts drivers; none outlives the test."""
    started: list[Driver] = []

    def start(signals: Scripted, root: str, where: str = "local", **more: str) -> Driver:
        started.append(Driver(tmp_path, signals, root, where, **more))
        return started[-1]

    yield start
    for driver in started:
        if driver.process.poll() is None:
            driver.kill()


@pytest.fixture
def raylets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of real raylets on loopback: a head without CPUs, nodes by ``add_node``."""
    from ray.cluster_utils import Cluster

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    head = {"num_cpus": 0, "object_store_memory": 80 * 2**20, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A durable object store with a bucket ``zoo``; the environment leads to it."""
    if not SWIFT.exists():
        pytest.skip("no Swift in .venv/swift (`make test` installs it)")
    from s3fs import S3FileSystem

    server = Swift(tmp_path_factory.mktemp("swift"))
    server.start()
    patch = pytest.MonkeyPatch()
    for name, value in environment(server.port, USER, KEY).items():
        patch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # fsspec keeps one per bucket, whatever the environment
    try:
        make_bucket(server.port, "zoo", USER, KEY)
        yield server
    finally:
        patch.undo()
        server.kill()


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    """A quick S3 endpoint with a bucket ``zoo``."""
    server = Moto()
    try:
        make_bucket(server.port, "zoo")
        yield server
    finally:
        server.kill()
