"""Jobs in this process: what their numbers depend on, and the checkpoints that they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training.checkpoints import FileCheckpoints, decode_state, encode_state
from training.local_engine import train_locally
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
    train_locally(root, [one], tracking, lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {used}
    assert torch.get_num_threads() == 2


def test_a_checkpoint_of_another_job_is_logged(job, said: Said) -> None:
    a, b = job(), job(seed=1)
    state = encode_state({"history": []}, a)
    assert decode_state(state, a) == {"history": []}
    assert not said()
    assert decode_state(state, b) is None
    assert said() == [f"{b.title}: its checkpoint is another training's; it begins anew"]


def test_a_damaged_checkpoint_is_logged(job, tmp_path: Path, said: Said) -> None:
    one = job()
    place = FileCheckpoints(Store(str(tmp_path)), one)
    file = tmp_path / place.path
    place.save({"history": []})
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[:100]):
        file.write_bytes(content)
        assert place.load() is None
    assert said() == [f"{one.title}: its checkpoint is damaged; it begins anew"]
    file.write_bytes(whole[:200] + b"xxxx" + whole[204:])
    assert place.load() in (None, {"history": []})


def test_what_the_driver_has_logged_is_not_logged_again_for_its_workers(said: Said) -> None:
    log_once("known")
    told: set[Any] = set()
    for _ in range(2):
        repeat({("said", "known"): "known", ("said", "new"): "new", "job": (1, {})}, told)
    assert said() == ["known", "new"]
