"""Machines come for shards that wait, and go when there is nothing left to fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud
from harness import Drive, Shards, Tell, begun, shards, until
from scripted import Scripted, attempts, nodes, once

from zoo_gen import Store


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """No machine but the head, at first."""
    started = Cloud()
    try:
        yield started
    finally:
        started.end()


def test_machines_come_for_pending_shards_and_go_again(
    cloud: Cloud, drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces, start = tmp_path / "traces", time.time()
    assert cloud.machines == 0
    signals = Scripted.of(traces, {(0, 0): "wait", (1, 0): "wait"})
    driver = drive(signals, str(tmp_path / "root"), cloud.address)
    until(lambda: begun(traces, 0)() and begun(traces, 1)(), "two machines at work at once")
    assert cloud.machines >= 2
    (traces / "go").touch()
    status, said = driver.ends()
    assert status == 0, said
    assert attempts(traces) == once()
    assert len(nodes(traces)) >= 2
    until(lambda: cloud.machines == 0, "both machines to go")
    assert shards(Store(str(tmp_path / "root"))) == undisturbed
    tell("no machine at first; two come, and go in the end", traces, start, "0-0")
