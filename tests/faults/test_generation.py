"""Whatever dies while a zoo is made: the same command makes the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from harness import Drive, Shards, Tell, add_node, begun, shards, until
from scripted import SHARDS, Scripted, attempts, nodes, once, recipe

from zoo_gen import LocalEngine, StorageError, Store
from zoo_gen.make.generate import generate

AGENTS = {
    "ray::RuntimeEnvAgent",
    "ray::DashboardAgent",
}  # they end about a minute after their raylet


def test_killed_workers_cost_their_attempt_alone(
    drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces = tmp_path / "traces"
    script = {(1, 0): "die", (3, 0): "die", (3, 1): "die"}
    assert drive(Scripted.of(traces, script), str(tmp_path / "root")).ends() == (0, "")
    assert attempts(traces) == once(s1=2, s3=3)
    assert shards(Store(str(tmp_path / "root"))) == undisturbed
    tell("SIGKILL of fitting workers, one shard's twice", traces, "1-0", "1-1")


def test_a_worker_that_always_dies_ends_the_command_with_a_reason(
    drive: Drive, tmp_path: Path, undisturbed: Shards
) -> None:
    signals = Scripted.of(tmp_path / "traces", {(2, a): "die" for a in range(4)})
    status, said = drive(signals, str(tmp_path / "root")).ends()
    assert status == 1
    assert "shard 2 was lost 4 times" in said
    assert drive(signals, str(tmp_path / "root"), "plain").ends()[0] == 0
    assert attempts(tmp_path / "traces")[2] == 5
    assert shards(Store(str(tmp_path / "root"))) == undisturbed


def test_a_killed_node_costs_what_it_was_fitting(
    raylets, drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    add_node(raylets)
    traces = tmp_path / "traces"
    signals = Scripted.of(traces, {(0, 0): "wait", (1, 0): "wait"})
    driver = drive(signals, str(tmp_path / "root"), raylets.address)
    until(begun(traces, 0), "the first shard on the first node")
    survivor = add_node(raylets)
    until(begun(traces, 1), "the second shard on the second node")
    dead = (traces / "0-0").read_text().split()[1]
    victim = next(n for n in raylets.worker_nodes if n.node_id == dead)
    assert victim is not survivor
    workers = [int((traces / "0-0").read_text().split()[0])]
    killed = time.time()
    raylets.remove_node(victim, allow_graceful=False)
    for pid in workers:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    (traces / "go").touch()
    assert driver.ends()[0] == 0
    assert attempts(traces) == once(s0=2)
    assert shards(Store(str(tmp_path / "root"))) == undisturbed
    tell("SIGKILL of a node (raylet and worker)", traces, killed, "0-1")


def test_a_node_that_joins_takes_its_share_and_one_that_leaves_loses_nothing(
    raylets, drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces = tmp_path / "traces"
    first = add_node(raylets)
    signals = Scripted.of(traces, {(1, 0): "wait"})
    driver = drive(signals, str(tmp_path / "root"), raylets.address)
    until(begun(traces, 1), "the second shard")
    second = add_node(raylets)
    until(lambda: nodes(traces)[second.node_id], "a shard on the node that joined")
    left = time.time()
    raylets.remove_node(first)
    until(begun(traces, 1, 1), "the second shard on the node that joined")
    assert driver.ends()[0] == 0
    assert set(nodes(traces)) == {first.node_id, second.node_id}
    assert attempts(traces) == once(s1=2)  # what the leaving node was fitting
    assert shards(Store(str(tmp_path / "root"))) == undisturbed
    tell("a node joins in the middle, another leaves", traces, left, "1-1")


def test_a_killed_driver_takes_its_ray_along_and_the_same_command_continues(
    drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces, store = tmp_path / "traces", Store(str(tmp_path / "root"))
    signals = Scripted.of(traces, {(3, 0): "wait", (4, 0): "wait"})
    driver = drive(signals, store.root)
    until(lambda: begun(traces, 3)() and begun(traces, 4)(), "shards 3 and 4")
    alive = psutil.Process(driver.process.pid).children(recursive=True)
    driver.kill()

    def only_agents() -> bool:
        nonlocal alive
        _, alive = psutil.wait_procs(alive, timeout=0.2)
        with suppress(psutil.NoSuchProcess):  # one more has ended since: look again
            return {process.name() for process in alive} <= AGENTS
        return False

    until(only_agents, "the end of all but Ray's agents", 20)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    before = attempts(traces)
    published = set(shards(store))
    (traces / "go").touch()
    again = time.time()
    assert drive(signals, store.root).ends()[0] == 0
    assert attempts(traces) == resumed(before, published)
    assert shards(store) == undisturbed
    tell("SIGKILL of the driver, the same command again", traces, again, "3-1")


def resumed(before: dict[int, int], published: set[str]) -> dict[int, int]:
    """Attempts after the same command: one more at each shard that was not published."""
    made = {int(name[5:10]) for name in published}
    return {s: before.get(s, 0) + (s not in made) for s in range(SHARDS)}


def test_ctrl_c_and_the_same_command(
    drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces, store = tmp_path / "traces", Store(str(tmp_path / "root"))
    signals = Scripted.of(traces, {(3, 0): "wait"})
    driver = drive(signals, store.root)
    until(begun(traces, 3), "shard 3")
    driver.process.send_signal(signal.SIGINT)
    assert driver.ends()[0] != 0
    published = set(shards(store))
    assert "part-00003.parquet" not in published
    before, again = attempts(traces), time.time()
    assert drive(signals, store.root).ends()[0] == 0
    assert attempts(traces) == resumed(before, published)
    assert shards(store) == undisturbed
    tell("Ctrl-C, the same command again", traces, again, "3-1")


def test_two_drivers_on_the_same_zoo(
    drive: Drive, tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    traces, store = tmp_path / "traces", Store(str(tmp_path / "root"))
    signals = Scripted.of(traces, {(0, 0): "wait", (0, 1): "wait"}, pace=0.1)
    drivers = [drive(signals, store.root, "plain") for _ in range(2)]
    until(lambda: begun(traces, 0)() and begun(traces, 0, 1)(), "both drivers at the first shard")
    (traces / "go").touch()
    assert [driver.ends()[0] for driver in drivers] == [0, 0]
    assert max(attempts(traces).values()) <= 2
    assert shards(store) == undisturbed
    tell("two drivers on the same zoo at once", traces)


def test_a_full_disk_is_told_and_room_cures_it(
    tmp_path: Path, undisturbed: Shards, tell: Tell
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets no test mount a small disk")
    try:
        traces = tmp_path / "traces"
        store, signals = Store(str(disk)), Scripted.of(traces)
        ballast = disk / "ballast"
        generated = 3 * len(undisturbed["part-00000.parquet"])
        ballast.write_bytes(b"x" * (256 * 1024 - generated - 40_000))
        with pytest.raises(StorageError, match="the disk is full: make room"):
            generate(store, recipe(), signals, LocalEngine())
        published = shards(store)
        assert 0 < len(published) < SHARDS
        assert all(undisturbed[name] == data for name, data in published.items())
        struck = len(published)
        ballast.unlink()
        again = time.time()
        generate(store, recipe(), signals, LocalEngine())
        assert attempts(traces) == once(**{f"s{struck}": 2})
        assert shards(store) == undisturbed
        tell("disk full, the same command again", traces, again, f"{struck}-1")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
