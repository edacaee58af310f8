"""A config that runs in seconds, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands.cli import status

CONFIG = """
name: tiny
description: eighty digits
source: {kind: digits}
limit: 80
zoo:
  fit: {widths: [2, 6, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}
  split: {train: 7, val: 1, test: 2}
  rows_per_shard: 30
models:
  dwsnet:
    network: {kind: dwsnet, hidden_channels: 4, layers: 1}
    training: {epochs: 2}
  mlp:
    network: {kind: mlp, hidden: [8]}
    training: {epochs: 2, augment: {permutation: true}}
seeds: [0, 1]
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config's file."""
    file = tmp_path_factory.mktemp("config") / "tiny.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def dwszoo(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = status([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def reported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the tiny config was run, with ``report.html`` and a champion."""
    root = tmp_path_factory.mktemp("reported")
    options = [str(tiny), "--root", str(root), "--engine", "local"]
    assert status(["run", *options]) == 0
    assert status(["report", *options, "--html", str(root / "report.html"), "--register"]) == 0
    return root
