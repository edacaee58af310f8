"""A search on disk, and who draws for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from spaces import ACCURACY, SPACE
from training.search.ledger import Ledger

from training.search.sampler import Sampler
from zoo_gen import Store


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Store(str(tmp_path)), "searches/test")


@pytest.fixture
def sampler() -> Sampler:
    return Sampler(SPACE, ACCURACY, learning=True, seed=0)
