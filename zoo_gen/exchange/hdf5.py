"""HDF5 in the layout of the neural-field arena: the one door to h5py.

A file ``{prefix}_{start}-{end}.hdf5`` holds ``params`` ``[n, P]``, ``labels`` ``[n]`` and
``param_config``, a JSON list of (name, shape) in the order of a row of ``params``: per layer the
bias, then the kernel ``(in, out)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError

KEY = "dwszoo"  # attribute of a file
Config = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class ArenaFile:
    """What a file says of itself.

    Attributes:
        rows: its networks.
        config: name and shape of each parameter, in order.
        labels: int64 ``[rows]``, None if it has none.
        about: what `dwszoo export` wrote of the zoo, None in files of others.
    """

    rows: int
    config: Config
    labels: npt.NDArray[np.int64] | None
    about: dict[str, Any] | None = None


def describe(path: Path) -> ArenaFile:
    """All of a file but its weights.

    Raises:
        SourceError: it is no HDF5 file of this layout; says what it holds.
    """
    try:
        with h5py.File(path, "r") as file:
            if lacking := [k for k in ("params", "param_config") if k not in file]:
                raise SourceError(
                    f"{path}: it holds {', '.join(file)}, but lacks {' and '.join(lacking)}"
                )
            config = _config(file["param_config"][0])
            params = file["params"]
            total = sum(int(np.prod(shape)) for _, shape in config)
            if params.ndim != 2 or params.shape[1] != total:
                raise SourceError(
                    f"{path}: params is {list(params.shape)}, param_config describes rows of "
                    f"{total} numbers"
                )
            labels = file["labels"][:] if "labels" in file else None
            if labels is not None and labels.shape != (len(params),):
                raise SourceError(
                    f"{path}: labels is {list(labels.shape)}, params has {len(params)}"
                )
            known = None if labels is None else labels.astype(np.int64)
            about = json.loads(file.attrs[KEY]) if KEY in file.attrs else None
            return ArenaFile(len(params), config, known, about)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise SourceError(f"{path}: it is no HDF5 file of the arena layout ({error})") from error


def read_params(path: Path, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Rows of ``params``, in rising order.

    Raises:
        SourceError: they cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            first, last = int(rows[0]), int(rows[-1]) + 1
            block: npt.NDArray[Any] = file["params"][first:last]
            return block[rows - first].astype(np.float32)
    except OSError as error:
        raise SourceError(f"{path}: it cannot be read ({error})") from error


def write(
    path: Path,
    config: Config,
    rows: int,
    parts: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None]],
    about: dict[str, Any],
) -> None:
    """Write a file of this layout, part by part; it appears under its name when it is whole.

    Args:
        path: of the file.
        config: name and shape of each parameter, in order.
        rows: networks in all.
        parts: ``params`` and ``labels`` of some rows after another; labels in all parts or none.
        about: of the zoo, kept as JSON in an attribute of the file.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    size = sum(int(np.prod(shape)) for _, shape in config)
    text = json.dumps([[name, list(shape)] for name, shape in config])
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs[KEY] = json.dumps(about)
            params = file.create_dataset("params", (rows, size), np.float32)
            file.create_dataset("param_config", data=[text.encode()])
            done = 0
            for block, labels in parts:
                params[done : done + len(block)] = block
                if labels is not None:
                    kept = file.require_dataset("labels", (rows,), np.int64)
                    kept[done : done + len(block)] = labels
                done += len(block)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _config(entry: Any) -> Config:
    text = entry.decode() if isinstance(entry, bytes) else str(entry)
    return tuple((str(name), tuple(int(d) for d in shape)) for name, shape in json.loads(text))
