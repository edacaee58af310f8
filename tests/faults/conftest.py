"""Drivers, clusters of real raylets and object stores for the tests of faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ENVIRONMENT, HEALTH, Drive, Driver, Shards, shards
from scripted import Scripted, recipe
from servers import KEY, SWIFT, USER, Moto, Swift, environment, make_bucket

from zoo_gen import LocalEngine, Store, generate


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
    server = Swift(tmp_path_factory.mktemp("swift"))
    server.start()
    patch = pytest.MonkeyPatch()
    for name, value in environment(server.port, USER, KEY).items():
        patch.setenv(name, value)
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
