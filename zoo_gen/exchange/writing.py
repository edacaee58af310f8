"""Files of an export: a destination of its own, files that appear when they are whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zoo_gen.errors import StorageError
from zoo_gen.zoo.zoo import Rows, ZooReader

MARKER = "dwszoo-export.json"
"""What an export leaves beside its files: of which zoo they are, and what the networks compute."""
BATCH = 1024

Progress = Callable[[int], None]


def claim(dst: Path, about: dict[str, Any]) -> None:
    """Make the folder this export's own, or find that it is.

    Raises:
        StorageError: there are other files in it.
    """
    marker = dst / MARKER
    if marker.is_file() and json.loads(marker.read_text()) == about:
        return
    check_empty(dst)
    whole(marker, lambda path: path.write_text(json.dumps(about, indent=2)))


def check_empty(dst: Path) -> None:
    """Make the folder unless it is there.

    Raises:
        StorageError: there are files in it.
    """
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise StorageError(f"{dst} exists and is not empty; choose another folder")
    dst.mkdir(parents=True, exist_ok=True)


def whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make a file appear when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def batches(zoo: ZooReader, progress: Progress) -> Iterator[tuple[int, Rows]]:
    """All networks in row order, a batch at a time, each with the number of its first row."""
    start = 0
    for rows in zoo.batches(BATCH):
        yield start, rows
        start += len(rows)
        progress(start)
