"""The scripts of results that are not benchmarks of speed: they run, and tell a wrong path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A script of ``benchmarks/``, run as the README says."""
    command = [sys.executable, f"benchmarks/{name}.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [("reproduce", ("--mnist", "/nowhere")), ("trials", ("mnist", "/nowhere"))],
)
def test_a_wrong_path_is_told_in_a_line(name: str, words: tuple[str, ...]) -> None:
    ran = script(name, *words)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert f"{name}.py: error: " in ran.stderr
    assert "/nowhere is not a " in ran.stderr


def test_the_ablation_has_a_line_for_each_row_that_is_asked_for(mnist: Path) -> None:
    few = ("--limit", "120", "--epochs", "1", "--rows", "1", "7", "--device", "cpu")
    ran = script("reproduce", "--mnist", str(mnist), *few)
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[1:]] == [
        "| DWSNet: mean pooling, no norm",
        "| 64 probes, moved",
    ]
