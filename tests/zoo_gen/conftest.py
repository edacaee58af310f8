"""A small zoo of real digits, and an S3 endpoint."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from zoo_gen import Digits, Fit, LocalEngine, Recipe, Signals, Split, Store, Zoo
from zoo_gen.make.generate import generate

FIT = Fit((2, 6, 5, 1), w0=3.0, init="paper", steps=20, learning_rate=0.01)
ZOO = Zoo(FIT, Split(7, 1, 2), views=3, rows_per_shard=32)


@pytest.fixture(scope="session")
def signals() -> Signals:
    """Thirty digits."""
    return Digits().load().limited(30)


@pytest.fixture(scope="session")
def recipe(signals: Signals) -> Recipe:
    """Ninety networks in three shards, the last one shorter."""
    return Recipe.of("small", Digits(), signals, ZOO)


@pytest.fixture(scope="session")
def long_recipe(signals: Signals) -> Recipe:
    """Many shards that take a while: something to interrupt."""
    slow = replace(ZOO, fit=replace(FIT, steps=2000), rows_per_shard=6)
    return Recipe.of("long", Digits(), signals, slow)


@pytest.fixture(scope="session")
def zoo_store(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, signals: Signals) -> Store:
    """A root with the zoo of `recipe`, generated without Ray: what every engine must equal."""
    store = Store(str(tmp_path_factory.mktemp("zoo")))
    generate(store, recipe, signals, LocalEngine())
    return store


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of a real S3 endpoint (moto) on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        import boto3
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()  # they keep the address of the module before

        client = boto3.client("s3")
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        client.create_bucket(Bucket="zoo")
        yield "s3://zoo"
    finally:
        patch.undo()
        server.kill()
        server.wait()
