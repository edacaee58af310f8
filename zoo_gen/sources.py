"""Where signals come from.

A *source* is a small typed description (part of a config); ``load()`` turns it into `Signals`,
which is all that generation sees. A new source is one dataclass here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError, SourceError

Part = Literal["train", "test", ""]


@dataclass(frozen=True)
class Signals:
    """Functions to fit, known at points: for images, gray values on a grid.

    Attributes:
        coordinates: float32 ``[points, d_in]``, in [-1, 1].
        values: uint8 ``[signals, points, d_out]``; 255 stands for 1.0.
        columns: task columns, name -> ``[signals]``.
        index: int64 ``[signals]``, the index of each in its source, also after `limited`.
        part: ``[signals]`` of ``"train"`` or ``"test"`` if the source has its own split, else "".
        fingerprint: SHA-256 over the whole source, limited or not.
        shape: (height, width) of an image.
    """

    coordinates: npt.NDArray[np.float32]
    values: npt.NDArray[np.uint8]
    columns: dict[str, npt.NDArray[np.int64]]
    index: npt.NDArray[np.int64]
    part: npt.NDArray[np.str_]
    fingerprint: str
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.values)

    def targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What the networks of these signals should output: ``[k, points, d_out]`` in [0, 1]."""
        return self.values[rows].astype(np.float32) / np.float32(255)

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
        return Signals(
            self.coordinates,
            self.values[keep],
            {name: column[keep] for name, column in self.columns.items()},
            self.index[keep],
            self.part[keep],
            self.fingerprint,
            self.shape,
        )


class Source(Protocol):
    """A description of signals that can be loaded."""

    kind: str

    def load(self) -> Signals:
        """Read and check the signals.

        Raises:
            SourceError: something is missing or malformed; says which file and why.
        """
        ...


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 real 8x8 digits (Alpaydin & Kaynak 1998); nothing to download."""

    kind: Literal["digits"] = "digits"

    def load(self) -> Signals:
        """The digits, gray levels 0..16 scaled to 0..255 (16 stands for 255)."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return images_with_labels(images, digits.target, part=np.full(len(images), ""))


@dataclass(frozen=True)
class Idx:
    """The four IDX files of MNIST or a data set in its format (Fashion-MNIST, KMNIST, ...).

    Attributes:
        path: directory with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each plain or ``.gz``.
    """

    kind: Literal["idx"] = "idx"
    path: str = field(default="", metadata={"hash": False})

    NAMES: ClassVar[dict[str, str]] = {"train": "train", "test": "t10k"}

    def load(self) -> Signals:
        """Signals 0..n-1 are the training images in file order, then the test images."""
        if not self.path:
            raise ConfigError(
                "source.path: missing; give the directory of the four IDX files, for example "
                "--set source.path=DIR"
            )
        folder = Path(os.path.expanduser(self.path))
        if not folder.is_dir():
            raise SourceError(f"source.path: {folder} is not a directory")
        images, labels, part = [], [], []
        for name, stem in self.NAMES.items():
            x_file = _find(folder, f"{stem}-images-idx3-ubyte")
            y_file = _find(folder, f"{stem}-labels-idx1-ubyte")
            x, y = read_idx(x_file, 3), read_idx(y_file, 1)
            if len(x) != len(y):
                raise SourceError(
                    f"{x_file} has {len(x)} images but {y_file} has {len(y)} labels; "
                    "they must come from one data set"
                )
            images.append(x)
            labels.append(y)
            part.append(np.full(len(x), name))
        if images[0].shape[1:] != images[1].shape[1:]:
            raise SourceError(
                f"{folder}: training images are {images[0].shape[1:]} and test images "
                f"{images[1].shape[1:]}; they must be of one size"
            )
        return images_with_labels(
            np.concatenate(images), np.concatenate(labels), np.concatenate(part)
        )


AnySource = Digits | Idx


def images_with_labels(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer], part: npt.NDArray[np.str_]
) -> Signals:
    """Signals of gray images ``[n, height, width]`` on the grid (row, column) in [-1, 1]^2."""
    n, height, width = images.shape
    rows = np.linspace(-1, 1, height, dtype=np.float32)
    columns = np.linspace(-1, 1, width, dtype=np.float32)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    classes: npt.NDArray[np.int64] = labels.astype(np.int64)
    digest = hashlib.sha256(f"gray {images.shape}".encode())
    for data in (images, classes, part == "test"):
        digest.update(np.ascontiguousarray(data).tobytes())
    return Signals(
        coordinates=grid,
        values=images.reshape(n, height * width, 1),
        columns={"label": classes},
        index=np.arange(n),
        part=part,
        fingerprint=digest.hexdigest(),
        shape=(height, width),
    )


def read_idx(file: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """One IDX file of unsigned bytes.

    Args:
        file: plain or gzip-compressed.
        dimensions: 3 for images, 1 for labels.

    Raises:
        SourceError: unreadable, not IDX, of another type, empty, truncated, or longer than it says.

    Source: the format as described with MNIST: two zero bytes, type 8, number of dimensions, each
    size as a big-endian 32-bit integer, then the data.
    """
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{file} cannot be read: {error or 'truncated'}; copy it again"
        ) from error
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, 8, dimensions])
    if len(data) < header or data[:4] != magic:
        raise SourceError(
            f"{file} is not an IDX file of bytes with {dimensions} dimensions: it begins with "
            f"{data[:4].hex() or 'nothing'}, expected {magic.hex()}"
        )
    shape = tuple(np.frombuffer(data, ">u4", dimensions, offset=4).astype(int).tolist())
    expected = int(np.prod(shape, dtype=np.int64))
    if expected == 0:
        raise SourceError(f"{file} is empty: its header gives the sizes {shape}")
    if len(data) - header != expected:
        raise SourceError(
            f"{file} is damaged: its header {shape} promises {expected} bytes, "
            f"it holds {len(data) - header}; copy it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def proportional(weights: list[int], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, in proportion to ``weights`` (largest remainders)."""
    whole = sum(weights)
    shares = [w * total // whole for w in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(weights[i] * total % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _find(folder: Path, name: str) -> Path:
    """The file of this name, plain or compressed; some copies write a dot before ``idx``."""
    names = [f"{name}.gz", name, f"{name.replace('-idx', '.idx')}.gz", name.replace("-idx", ".idx")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise SourceError(f"{folder} has no {name} (or {name}.gz); the four IDX files are needed")
