"""Jobs in this process: what their numbers depend on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from training.run import run_locally
from training.tracking import Tracking
from zoo_gen import Store


@pytest.fixture
def two_threads() -> Any:
    """A process that uses two threads, as torch does on its own on this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("told", "used"), [(None, 1), ("1", 1), ("3", 3)])
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
    one = job(seed=100 + used, epochs=1 + bool(told))
    run_locally(root, [one], tracking, lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {used}
    assert torch.get_num_threads() == 2
