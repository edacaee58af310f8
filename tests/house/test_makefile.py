"""What `make` says while it sets everything up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
    "-c import sys"*) exit "${TOO_OLD:-0}" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/pip" ;;
    "-m pip install --quiet "*) echo "$*" >> installed ;;
    *) exit 1 ;;
esac
"""
"""Makes environments of itself and installs nothing, as silently as pip does."""


def folder_with(tmp_path: Path) -> list[str]:
    """The files of the set-up in a folder, and the command that runs it there."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    # quiet about its folder, as a person's make is: that of `make test` makes a sub-make of it
    return ["make", "--no-print-directory", f"PYTHON={python}", "setup", ".venv/swift/.set-up"]


def test_a_python_that_is_too_old_is_told_before_anything_is_brought(tmp_path: Path) -> None:
    command = folder_with(tmp_path)
    environment = {**os.environ, "TOO_OLD": "1"}
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "Python 3.11 or newer is needed" in made.stderr
    assert not (tmp_path / "installed").exists()


def test_each_phase_of_the_set_up_says_what_it_brings(tmp_path: Path) -> None:
    command = folder_with(tmp_path)
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    told = made.stdout.splitlines()
    begins = (
        "set-up 1/3: a Python env",
        "set-up 2/3: torch",
        "set-up 3/3: Ray",
        "set-up: an object",
    )
    assert [line.startswith(begin) for line, begin in zip(told, begins, strict=True)] == [True] * 4
    assert ["to download" in line for line in told] == [False, True, True, True]
    assert len((tmp_path / "installed").read_text().splitlines()) == 3
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "download" not in again.stdout
