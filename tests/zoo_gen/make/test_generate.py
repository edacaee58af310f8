"""The shard contract, with and without Ray."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from zoo_gen import (
    CorruptShard,
    LocalEngine,
    Recipe,
    Signals,
    StorageError,
    Store,
    ZooError,
    ZooReader,
    generate,
)
from zoo_gen.make.generate import ShardDone, fit_shard
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.zoo.shards import decode


def shards(store: Store, recipe: Recipe) -> dict[str, bytes]:
    folder = f"{recipe.folder}/shards"
    return {name: store.read(f"{folder}/{name}") for name in store.names(folder)}


class ShuffledEngine:
    """Shards in another order."""

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        random.Random(0).shuffle(missing)
        return (fit_shard(job, shard) for shard in missing)


class CountingEngine(LocalEngine):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        self.asked += missing
        return super().fit(job, missing, progress)


class FailingEngine(LocalEngine):
    """Fails after one shard."""

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        yield fit_shard(job, missing[0])
        raise StorageError("planted")


def test_the_order_of_shards_changes_no_byte(
    tmp_path: Path, zoo_store: Store, recipe: Recipe, signals: Signals
) -> None:
    store = Store(str(tmp_path))
    generate(store, recipe, signals, ShuffledEngine())
    assert shards(store, recipe) == shards(zoo_store, recipe)


def test_a_second_call_fits_nothing(zoo_store: Store, recipe: Recipe, signals: Signals) -> None:
    engine = CountingEngine()
    done = generate(zoo_store, recipe, signals, engine)
    assert (done.members, done.fitted, engine.asked) == (90, 0, [])


def test_only_what_failed_is_fitted_again(
    tmp_path: Path, zoo_store: Store, recipe: Recipe, signals: Signals
) -> None:
    store, engine = Store(str(tmp_path)), CountingEngine()
    with pytest.raises(StorageError, match="planted"):
        generate(store, recipe, signals, FailingEngine())
    done = generate(store, recipe, signals, engine)
    assert engine.asked == [1, 2]
    assert done.fitted == 90 - 32
    assert shards(store, recipe) == shards(zoo_store, recipe)


def test_a_deleted_shard_comes_back_byte_for_byte(
    tmp_path: Path, zoo_store: Store, recipe: Recipe, signals: Signals
) -> None:
    store = Store(str(tmp_path))
    generate(store, recipe, signals, LocalEngine())
    os.unlink(store.local(f"{recipe.folder}/shards/part-00001.parquet"))
    assert generate(store, recipe, signals, LocalEngine()).fitted == 32
    assert shards(store, recipe) == shards(zoo_store, recipe)


def test_progress_rises_to_the_number_of_members(
    tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    told: list[int] = []
    generate(Store(str(tmp_path)), recipe, signals, LocalEngine(), told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 90)


def test_a_zoo_of_another_recipe_under_the_same_name_is_refused(
    tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    store = Store(str(tmp_path))
    other = replace(recipe, zoo=replace(recipe.zoo, seed=1))
    generate(store, other, signals, LocalEngine())
    store.local(other.folder).rename(store.local(recipe.folder))
    with pytest.raises(ZooError, match=f"made by another recipe .*{other.hash8}"):
        generate(store, recipe, signals, LocalEngine())


def test_a_shard_of_another_zoo_is_named(tmp_path: Path, recipe: Recipe, signals: Signals) -> None:
    store = Store(str(tmp_path))
    other = replace(recipe, zoo=replace(recipe.zoo, seed=1))
    for one in (recipe, other):
        generate(store, one, signals, LocalEngine())
    foreign = store.read(f"{other.folder}/shards/part-00001.parquet")
    store.publish(f"{recipe.folder}/shards/part-00001.parquet", foreign)
    with pytest.raises(CorruptShard, match=r"part-00001\.parquet belongs to another zoo"):
        ZooReader(store, recipe.folder).columns()


def test_a_shard_in_anothers_place_is_named(
    tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    store = Store(str(tmp_path))
    generate(store, recipe, signals, LocalEngine())
    first = store.read(f"{recipe.folder}/shards/part-00000.parquet")
    store.publish(f"{recipe.folder}/shards/part-00001.parquet", first)
    with pytest.raises(CorruptShard, match=r"part-00001\.parquet does not hold the members 32"):
        ZooReader(store, recipe.folder).columns()


def test_an_incomplete_zoo_is_not_read(tmp_path: Path, recipe: Recipe, signals: Signals) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(StorageError):
        generate(store, recipe, signals, FailingEngine())
    with pytest.raises(ZooError, match="2 of 3 shards are missing"):
        ZooReader(store, recipe.folder).columns()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"hash8": "x"}'])
def test_a_broken_description_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "zoo.json").write_text(content)
    with pytest.raises(ZooError, match=r"zoo\.json"):
        ZooReader(Store(str(tmp_path)))


def test_a_folder_without_zoo_is_no_zoo(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"has no zoo\.json"):
        ZooReader(Store(str(tmp_path)))


def test_a_local_ray_is_known_by_its_loopback_address(ray_session: int) -> None:
    import ray

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_ray_gives_the_same_bytes_with_any_number_of_workers(
    ray_session: int,
    tmp_path: Path,
    zoo_store: Store,
    recipe: Recipe,
    signals: Signals,
    workers: int,
) -> None:
    from zoo_gen.make.ray_engine import RayEngine

    store = Store(str(tmp_path))
    assert generate(store, recipe, signals, RayEngine(workers)).fitted == 90
    assert shards(store, recipe) == shards(zoo_store, recipe)


def test_an_error_in_a_ray_task_comes_out_as_itself(
    ray_session: int, tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    from zoo_gen.make.ray_engine import RayEngine

    store = Store(str(tmp_path))
    store.publish(f"{recipe.folder}/shards", b"a file where the folder should be")
    job = ShardJob(store, recipe, signals, {})
    with pytest.raises(StorageError, match="part-0000"):
        list(RayEngine().fit(job, [0, 1], lambda done: None))


GENERATE = """
import pickle, sys
from zoo_gen import LocalEngine, Store
from zoo_gen.make.generate import generate
recipe, signals = pickle.load(open(sys.argv[1], "rb"))
generate(Store(sys.argv[2]), recipe, signals, LocalEngine())
"""


def test_after_a_kill_in_the_middle_the_same_call_completes_the_same_zoo(
    tmp_path: Path, long_recipe: Recipe, signals: Signals
) -> None:
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((long_recipe, signals)))
    store, reference = Store(str(tmp_path / "killed")), Store(str(tmp_path / "whole"))
    folder = f"{long_recipe.folder}/shards"
    process = subprocess.Popen([sys.executable, "-c", GENERATE, str(job), store.root])
    until = time.monotonic() + 120
    while len(store.names(folder)) < 3 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for name in store.names(folder):  # whatever is visible is whole
        decode(store.read(f"{folder}/{name}"), name)
    assert generate(store, long_recipe, signals, LocalEngine()).fitted < 90
    generate(reference, long_recipe, signals, LocalEngine())
    assert shards(store, long_recipe) == shards(reference, long_recipe)


def test_the_calling_threads_setting_survives_the_local_engine(
    tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        generate(Store(str(tmp_path)), recipe, signals, LocalEngine())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_description_is_pure_data(zoo_store: Store, recipe: Recipe) -> None:
    description = json.loads(zoo_store.read(f"{recipe.folder}/zoo.json"))
    assert description["hash8"] == recipe.hash8
    assert description["members"] == 90
    assert description["space"]["widths"] == [2, 6, 5, 1]
