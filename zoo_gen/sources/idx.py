"""IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError
from zoo_gen.sources.base import Signals, Source, existing
from zoo_gen.sources.images import images_with_labels


@dataclass(frozen=True)
class Idx(Source):
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
        folder = existing(self.path, "the directory of the four IDX files")
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


def _find(folder: Path, name: str) -> Path:
    """The file of this name, plain or compressed; some copies write a dot before ``idx``."""
    names = [f"{name}.gz", name, f"{name.replace('-idx', '.idx')}.gz", name.replace("-idx", ".idx")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise SourceError(f"{folder} has no {name} (or {name}.gz); the four IDX files are needed")
