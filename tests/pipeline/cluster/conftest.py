"""A config of a zoo alone, as a user has one."""

from __future__ import annotations

from pathlib import Path

import pytest

ZOO_ALONE = """
name: small
description: a zoo alone
source: {kind: digits}
zoo:
  fit: {widths: [2, 6, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}
  split: {train: 7, val: 1, test: 2}
  rows_per_shard: 20
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A user's own config, of a zoo alone."""
    file = tmp_path / "small.yaml"
    file.write_text(ZOO_ALONE)
    return file
