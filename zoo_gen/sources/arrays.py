"""Images in NumPy files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError
from zoo_gen.sources.base import Signals, Source, existing
from zoo_gen.sources.images import Images, images_with_labels
from zoo_gen.sources.pictures import Framing, Stack

WHAT = "an .npz file of images and labels, or a directory of images.npy and labels.npy"
NAMES = {
    "": (("images", "labels"), ("x", "y")),
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class NumpyArrays(Source):
    """Images ``[n, height, width]`` or ``[n, height, width, 1 or 3]``, and a class for each.

    uint8, or floating point in [0, 1] (kept as float32). The arrays are named ``images`` and
    ``labels``, with ``train_`` and ``test_`` before both where there are both parts (``x``,
    ``y``, ``x_train``, ... are taken too); arrays of other names are ignored.

    Attributes:
        path: an ``.npz`` file, or a directory of ``.npy`` files of these names.
        gray, crop, resize: see `zoo_gen.sources.pictures.Framing`.
    """

    kind: Literal["arrays"] = "arrays"
    path: str = field(default="", metadata={"hash": False})
    gray: bool = False
    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        Framing(self.crop, self.gray, self.resize)

    def load(self) -> Signals:
        """Signals are the images in order, training images first."""
        place = existing(self.path, WHAT, folder=False)
        arrays = read_arrays(place)
        framing = Framing(self.crop, self.gray, self.resize)
        images, labels, parts = [], [], []
        for part, known in NAMES.items():
            for x, y in known:
                if x in arrays:
                    images.append(checked_images(arrays[x], f"{place}: {x}"))
                    labels.append(_labels(arrays, x, y, place))
                    parts.append(np.full(len(images[-1]), part))
        if not images:
            raise SourceError(
                f"{place} has no array 'images' (or train_images and test_images); "
                f"it has {', '.join(sorted(arrays)) or 'none'}"
            )
        part_names = {str(part[0]) for part in parts}
        if part_names != {"train", "test"}:
            parts = [np.full(len(part), "") for part in parts]
        together = _stacked(images, framing, place)
        return images_with_labels(together, np.concatenate(labels), np.concatenate(parts))


def read_arrays(place: Path) -> Arrays:
    """Name -> array of an ``.npz`` file or of the ``.npy`` files of a directory.

    Raises:
        SourceError: one cannot be read; files that hold Python objects are never loaded.
    """
    files = sorted(place.glob("*.npy")) if place.is_dir() else [place]
    arrays: Arrays = {}
    for file in files:
        try:
            with open(file, "rb") as stream:
                loaded = np.load(stream, allow_pickle=False)
                if isinstance(loaded, np.ndarray):
                    arrays[file.stem] = loaded
                else:
                    known = {n for pairs in NAMES.values() for pair in pairs for n in pair}
                    # others are not read: they may be large, or hold objects
                    arrays |= {n: loaded[n] for n in loaded.files if n in known}
                    arrays |= {n: np.empty(0) for n in loaded.files if n not in known}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise SourceError(
                f"{file} cannot be read as NumPy arrays of numbers ({error})"
            ) from error
    return arrays


def checked_images(images: npt.NDArray[Any], name: str) -> Images:
    """Images as ``[n, height, width, 1 or 3]``, uint8 or float32 in [0, 1].

    Raises:
        SourceError: another type, shape or range, or none at all.
    """
    shape = images.shape if images.ndim == 4 else (*images.shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape:
        raise SourceError(
            f"{name} has the shape {list(images.shape)}, expected [n, height, width] or "
            "[n, height, width, 1 or 3], at least one image"
        )
    if images.dtype == np.uint8:
        return images.reshape(shape)
    if not np.issubdtype(images.dtype, np.floating):
        raise SourceError(f"{name} is of type {images.dtype}, expected uint8 or floating point")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise SourceError(
            f"{name} has values from {low:g} to {high:g}, expected 0 to 1 (or uint8 from 0 to 255)"
        )
    return images.reshape(shape).astype(np.float32)


def _labels(arrays: Arrays, x: str, y: str, place: Path) -> npt.NDArray[np.int64]:
    """The class of each image."""
    if y not in arrays:
        raise SourceError(f"{place} has {x} but no {y}; it has {', '.join(sorted(arrays))}")
    labels = arrays[y]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = np.issubdtype(labels.dtype, np.integer)
    if labels.ndim != 1 or not whole or labels.min(initial=0) < 0:
        raise SourceError(
            f"{place}: {y} is {labels.dtype} of shape {list(labels.shape)}, expected a whole "
            "number from 0 on for each image, [n]"
        )
    if len(labels) != len(arrays[x]):
        raise SourceError(
            f"{place}: {x} has {len(arrays[x])} images but {y} has {len(labels)} labels; they "
            "must come from one data set"
        )
    return labels.astype(np.int64)


def _stacked(images: list[Images], framing: Framing, place: Path) -> Images:
    """The images of all parts, framed, as one array."""
    if len({x.dtype for x in images}) > 1:
        raise SourceError(f"{place}: some images are uint8 and others floating point; convert one")
    stack = Stack(sum(map(len, images)), framing)
    for i, pixels in enumerate(x for part in images for x in part):
        stack.add(pixels, f"{place} image {i}")
    return stack.images()
