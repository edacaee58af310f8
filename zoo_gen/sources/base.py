"""What every source gives: signals, known at points."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError, SourceError

Part = Literal["train", "test", ""]
"""The part of its source that a signal belongs to; none where the source has no parts."""

Column = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Signals:
    """Functions to fit, known at points: images on a grid, waves, distances to shapes.

    Attributes:
        coordinates: float32 ``[points, d_in]``: what networks take, as it is. In [-1, 1] for
            images and shapes, in the source's own domain for functions.
        values: ``[signals, points, d_out]``, uint8 (255 stands for 1.0) or float32 (as they are).
        columns: task columns, name -> int64 or float32 ``[signals]``.
        index: int64 ``[signals]``, the index of each in its source, also after `limited`.
        part: ``[signals]`` of ``"train"`` or ``"test"`` if the source has its own split, else "".
        fingerprint: SHA-256 over the whole source, limited or not.
        shape: (height, width) if the points are the pixels of an image, row by row, else None.
        unit_range: whether values are in [0, 1], so that a PSNR has meaning.
    """

    coordinates: npt.NDArray[np.float32]
    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    columns: dict[str, Column]
    index: npt.NDArray[np.int64]
    part: npt.NDArray[np.str_]
    fingerprint: str
    shape: tuple[int, int] | None = None
    unit_range: bool = True

    def __len__(self) -> int:
        return len(self.values)

    def targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What the networks of these signals should output: float32 ``[k, points, d_out]``."""
        values = self.values[rows].astype(np.float32)
        return values / np.float32(255) if self.values.dtype == np.uint8 else values

    def limited(self, limit: int | None) -> Signals:
        """The first signals, of each part of the source in proportion.

        Args:
            limit: how many, or None for all.

        Raises:
            ConfigError: fewer than 1, or more than there are.
        """
        if limit is None:
            return self
        if not 1 <= limit <= len(self):
            raise ConfigError(
                f"limit: got {limit}, expected 1 to {len(self)} (the signals of the source)"
            )
        parts, counts = np.unique(self.part, return_counts=True)
        quota = proportional(counts.tolist(), limit)
        keep = np.sort(
            np.concatenate(
                [np.flatnonzero(self.part == p)[:q] for p, q in zip(parts, quota, strict=True)]
            )
        )
        return replace(
            self,
            values=self.values[keep],
            columns={name: column[keep] for name, column in self.columns.items()},
            index=self.index[keep],
            part=self.part[keep],
        )


class Source(ABC):
    """A description of signals that can be loaded: a frozen dataclass, part of a config.

    All of its fields enter the zoo's hash, but those that only locate the signals, such as
    a ``path``: ``field(default="", metadata={"hash": False})``.

    Attributes:
        kind: its name in a config.
    """

    kind: str

    @abstractmethod
    def load(self) -> Signals:
        """Read and check the signals.

        Raises:
            SourceError: something is missing or malformed; says which file and why.
        """


def function_signals(
    coordinates: npt.NDArray[Any],
    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    columns: dict[str, Column],
    shape: tuple[int, int] | None = None,
    unit_range: bool = False,
    part: npt.NDArray[np.str_] | None = None,
) -> Signals:
    """Signals that were computed or measured at points.

    Args:
        coordinates: ``[points, d_in]``.
        values: ``[signals, points, d_out]``.
        columns: task columns, ``[signals]``.
        shape: (height, width) if the points are those of an image.
        unit_range: whether values are in [0, 1].
        part: ``"train"``, ``"test"`` or ``""`` of each; None for a source without its own split.
    """
    parts = np.full(len(values), "") if part is None else part
    points = np.ascontiguousarray(coordinates, np.float32)
    digest = hashlib.sha256(f"values {values.dtype} {values.shape}".encode())
    for data in (points, values, parts == "test", *columns.values()):
        digest.update(np.ascontiguousarray(data).data)
    return Signals(
        points,
        values,
        columns,
        np.arange(len(values)),
        parts,
        digest.hexdigest(),
        shape,
        unit_range,
    )


def grid(*sizes: int) -> npt.NDArray[np.float32]:
    """Points of a grid over [-1, 1]^d, the last coordinate fastest: float32 ``[points, d]``."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in sizes]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(sizes))


def proportional(weights: list[int], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, in proportion to ``weights`` (largest remainders)."""
    whole = sum(weights)
    shares = [w * total // whole for w in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(weights[i] * total % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def existing(path: str, what: str, folder: bool = True) -> Path:
    """A source's path, with ``~`` expanded.

    Args:
        path: as the config gives it.
        what: what is expected there, for the message.
        folder: whether it must be a directory.

    Raises:
        ConfigError: it is empty.
        SourceError: there is no such directory (or file).
    """
    if not path:
        raise ConfigError(
            f"source.path: missing; give {what}, for example --set source.path="
            f"{'DIR' if folder else 'PATH'}"
        )
    place = Path(os.path.expanduser(path))
    if folder and not place.is_dir():
        raise SourceError(f"source.path: {place} is not a directory; give {what}")
    if not place.exists():
        raise SourceError(f"source.path: {place} does not exist; give {what}")
    return place


def at_least(key: str, value: int, least: int) -> None:
    """Raise `ConfigError` unless a number of a config is large enough."""
    if value < least:
        raise ConfigError(f"{key}: got {value}, expected {least} or more")
