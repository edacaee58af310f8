"""A search on disk, and its sampler."""

from __future__ import annotations

from pathlib import Path

import pytest
from spaces import ACCURACY, SPACE

from training.search.sampler import Sampler
from training.search.trials import TrialStore
from zoo_gen import Store


@pytest.fixture
def trials(tmp_path: Path) -> TrialStore:
    return TrialStore(Store(str(tmp_path)), "searches/test")


@pytest.fixture
def sampler() -> Sampler:
    return Sampler(SPACE, ACCURACY, learning=True, seed=0)
