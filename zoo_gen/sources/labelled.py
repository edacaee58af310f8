"""Labelled images with a training and a test part, as classifiers see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError
from zoo_gen.sources.base import Signals

Rows = npt.NDArray[np.int64]
InputShape = tuple[int, int, int]
"""Channels, height and width of the images."""


@dataclass(frozen=True)
class LabelledImages:
    """The images of a source in [0, 1], channels first.

    Attributes:
        values: ``[n, pixels, channels]``, uint8 (255 stands for 1.0) or float32.
        label: int64 ``[n]``.
        train, test: rows of the parts of the source.
        shape: channels, height, width.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    label: Rows
    train: Rows
    test: Rows
    shape: InputShape

    @classmethod
    def of(cls, signals: Signals) -> LabelledImages:
        """Those of a source.

        Raises:
            ConfigError: it has no images, no labels, or no test part; says what is needed.
        """
        need = "zoo.fit: classifiers learn the classes of images and are tested on others"
        if signals.shape is None or "label" not in signals.columns:
            raise ConfigError(
                f"{need}, but the source gives "
                f"{'no images' if signals.shape is None else 'no labels'}; use labelled images"
            )
        parts = {part: np.flatnonzero(signals.part == part) for part in ("train", "test")}
        if empty := [part for part, rows in parts.items() if not len(rows)]:
            raise ConfigError(
                f"{need}, but the source has no {' and no '.join(empty)} part of its own; use one "
                "with both: the IDX files of MNIST, or folders or files named train and test"
            )
        label = signals.columns["label"].astype(np.int64)
        if label.min() < 0 or len(np.unique(label[parts["train"]])) < 2:
            raise ConfigError(f"{need}, but its training part has fewer than two classes from 0")
        shape = (signals.values.shape[2], *signals.shape)
        return cls(signals.values, label, parts["train"], parts["test"], shape)

    @property
    def classes(self) -> int:
        """One more than the greatest label."""
        return int(self.label.max()) + 1

    def take(
        self, rows: Rows, out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Pixels of these images, float32 ``[..., channels * height * width]``."""
        chosen = self.values[rows].swapaxes(-1, -2).reshape(*rows.shape, -1)
        scale = np.float32(1 / 255 if self.values.dtype == np.uint8 else 1)
        return np.multiply(chosen, scale, out=out, dtype=np.float32)
