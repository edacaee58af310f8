"""Jobs in this process: what their numbers depend on, and the checkpoints that they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.run import FileCheckpoints, run_locally
from training.tasks import Retrieve
from training.tracking import Tracking
from zoo_gen import Store
from zoo_gen.log import log_once
from zoo_gen.make.ray_engine import repeat

Said = Callable[[], list[str]]


@pytest.fixture
def two_threads() -> Any:
    """A process that uses two threads, as torch does on its own on this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("told", "used"), [(None, 1), ("", 1), ("1", 1), ("3", 3), ("4,1", 4)])
def test_threads_are_those_of_rays_workers(
    root: Store,
    job: Any,
    tracking: Tracking,
    two_threads: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: str | None,
    used: int,
) -> None:
    if told is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    seen = []
    one = job(seed=100 + len(told or ""), epochs=1 + used)
    run_locally(root, [one], tracking, lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {used}
    assert torch.get_num_threads() == 2


def test_checkpoint_files_of_another_job_are_told_of(job, tmp_path: Path, said: Said) -> None:
    a, b, store = job(), job(seed=1), Store(str(tmp_path))
    FileCheckpoints(store, "c.pt", a).save({"history": []})
    assert FileCheckpoints(store, "c.pt", a).load() == {"history": []}
    assert not said()
    assert FileCheckpoints(store, "c.pt", b).load() is None
    assert said() == [f"{b.title}: its checkpoint is another training's; it begins anew"]


def test_a_damaged_checkpoint_is_told_of(job, tmp_path: Path, said: Said) -> None:
    one = job()
    place, file = FileCheckpoints(Store(str(tmp_path)), "c.pt", one), tmp_path / "c.pt"
    place.save({"history": []})
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[:100]):
        file.write_bytes(content)
        assert place.load() is None
    assert said() == [f"{one.title}: its checkpoint is damaged; it begins anew"]
    file.write_bytes(whole[:200] + b"xxxx" + whole[204:])
    assert place.load() in (None, {"history": []})


def test_checkpoints_of_another_task_are_told_of(job, tmp_path: Path, said: Said) -> None:
    a, store = job(), Store(str(tmp_path))
    b = replace(a, task=Retrieve())
    FileCheckpoints(store, "c.pt", a).save({"history": []})
    assert FileCheckpoints(store, "c.pt", b).load() is None
    assert len(said()) == 1


def test_what_the_driver_has_told_is_not_told_again_for_its_workers(said: Said) -> None:
    log_once("known")
    told: set[Any] = set()
    for _ in range(2):
        repeat({("said", "known"): "known", ("said", "new"): "new", "job": (1, {})}, told)
    assert said() == ["known", "new"]
