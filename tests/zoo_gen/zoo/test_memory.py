"""What reading takes is bounded, and what there is to take is told truly."""

from __future__ import annotations

import resource
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from zoo_gen import Recipe, Store, ZooReader
from zoo_gen.zoo.memory import available, bytes_of_batches, bytes_of_theta
from zoo_gen.zoo.zoo import READERS

KIB = 1024


@pytest.fixture
def zoo(zoo_store: Store, recipe: Recipe) -> ZooReader:
    return ZooReader(zoo_store, recipe.folder)


class Counted(ZooReader):
    """A zoo of many shards that counts how many of them are in memory."""

    SHARDS, ROWS = 12, 40

    def __init__(self, zoo: ZooReader) -> None:
        super().__init__(zoo.store, zoo.folder)
        self._members, self._shards, self._rows = self.SHARDS * self.ROWS, self.SHARDS, self.ROWS
        self.lock, self.alive, self.most = threading.Lock(), 0, 0

    def missing(self) -> list[str]:
        return []

    def _shard(self, shard: int, theta: bool) -> dict[str, np.ndarray]:
        weights = np.full((self.ROWS, self.space.size), shard, np.float32)
        with self.lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(weights, self.gone)
        return {"member": shard * self.ROWS + np.arange(self.ROWS), "theta": weights}

    def gone(self) -> None:
        with self.lock:
            self.alive -= 1


@pytest.mark.parametrize("size", [1, 7, 40, 64])
def test_batches_hold_one_shard_beside_those_of_the_readers(zoo: ZooReader, size: int) -> None:
    counted = Counted(zoo)
    for rows in counted.batches(size):
        member = rows.columns["member"]
        assert (rows.theta[:, 0].numpy() == member.numpy() // Counted.ROWS).all()
        del rows
    assert counted.most <= 1 + READERS


def test_what_batches_need_depends_on_shards_and_batches_alone(zoo: ZooReader) -> None:
    needed, all_of_it = bytes_of_batches(zoo, 8), bytes_of_theta(zoo)
    zoo._members *= 10
    assert (bytes_of_batches(zoo, 8), bytes_of_theta(zoo)) == (needed, 10 * all_of_it)
    assert bytes_of_batches(zoo, 80) > needed


def test_all_weights_count_four_bytes_each_and_their_columns(zoo: ZooReader) -> None:
    taken = sum(x.nbytes for x in zoo.columns(theta=True).values())
    assert taken <= bytes_of_theta(zoo)
    assert bytes_of_theta(zoo) >= 4 * len(zoo) * zoo.space.size


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with 900 KiB, a group of groups with 500 of 700 used, and none limited inside."""
    files = {
        "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  900 kB\n",
        "proc/self/cgroup": "1:name=old:/other\n0::/outer/inner\n",
        "proc/self/status": "VmData:\t 100 kB\nVmSize:\t 4000 kB\n",
        "cgroup/outer/memory.max": f"{700 * KIB}\n",
        "cgroup/outer/memory.current": f"{500 * KIB}\n",
        "cgroup/outer/memory.stat": f"file 1\ninactive_file {50 * KIB}\nactive_file 2\n",
        "cgroup/outer/inner/memory.max": "max\n",
        "cgroup/outer/inner/memory.current": f"{500 * KIB}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def free(system: Path) -> int | None:
    found = available(system / "proc", system / "cgroup")
    return None if found is None else found // KIB


def test_a_group_above_ones_own_limits_it_and_gives_its_page_cache_back(system: Path) -> None:
    assert free(system) == 250


def test_without_groups_the_machine_counts(system: Path) -> None:
    (system / "proc/self/cgroup").unlink()
    assert free(system) == 900


def test_limits_of_the_process_count(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_DATA: 180 * KIB, resource.RLIMIT_AS: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    assert free(system) == 80


def test_a_system_that_tells_nothing_is_taken_at_its_word(tmp_path: Path) -> None:
    assert free(tmp_path) is None
