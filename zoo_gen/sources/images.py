"""Images as signals, and the ones that come with scikit-learn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.sources.base import Signals, Source, grid

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Digits(Source):
    """scikit-learn's 1,797 real 8x8 digits (Alpaydin & Kaynak 1998); nothing to download."""

    kind: Literal["digits"] = "digits"

    def load(self) -> Signals:
        """The digits, gray levels 0..16 scaled to 0..255 (16 stands for 255)."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return images_with_labels(images, digits.target, part=np.full(len(images), ""))


def images_with_labels(
    images: Images, labels: npt.NDArray[np.integer], part: npt.NDArray[np.str_]
) -> Signals:
    """Signals of images on the grid (row, column) in [-1, 1]^2.

    Args:
        images: gray ``[n, height, width]`` or colour ``[n, height, width, 3]``; uint8, or float32
            in [0, 1].
        labels: class of each, whole numbers.
        part: ``"train"``, ``"test"`` or ``""`` of each.
    """
    n, height, width = images.shape[:3]
    colours = "gray" if images.ndim == 3 else "colour"
    precision = "" if images.dtype == np.uint8 else f" {images.dtype}"
    classes: npt.NDArray[np.int64] = labels.astype(np.int64)
    digest = hashlib.sha256(f"{colours}{precision} {images.shape}".encode())
    for data in (images, classes, part == "test"):
        digest.update(np.ascontiguousarray(data).data)
    return Signals(
        coordinates=grid(height, width),
        values=images.reshape(n, height * width, -1),
        columns={"label": classes},
        index=np.arange(n),
        part=part,
        fingerprint=digest.hexdigest(),
        shape=(height, width),
    )
