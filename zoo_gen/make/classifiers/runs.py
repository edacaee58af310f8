"""What each run trains on and with: functions of its own seed and the labelled images alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.classifier import HYPERPARAMETERS, Classifier, InputShape
from zoo_gen.recipe.draws import Value, sampled
from zoo_gen.sources import Signals

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Images:
    """The labelled images of a source, as classifiers see them: in [0, 1], channels first.

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
    def of(cls, signals: Signals) -> Images:
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

    def take(self, rows: Rows, out: Floats | None = None) -> Floats:
        """Pixels of these images, float32 ``[..., channels * height * width]``."""
        chosen = self.values[rows].swapaxes(-1, -2).reshape(*rows.shape, -1)
        scale = np.float32(1 / 255 if self.values.dtype == np.uint8 else 1)
        return np.multiply(chosen, scale, out=out, dtype=np.float32)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        seed: of everything that is drawn for it.
        settings: its hyper-parameters, by name.
        pair: the two classes that it tells apart, None for all of the source.
    """

    seed: int
    settings: dict[str, Value]
    pair: tuple[int, int] | None = None

    def generator(self, purpose: str) -> np.random.Generator:
        """Randomness that depends on the run and the purpose alone."""
        return np.random.default_rng([self.seed, *purpose.encode()])  # a PCG64

    def number(self, name: str) -> float:
        """A hyper-parameter that is a number."""
        return float(self.settings[name])

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return int(self.settings["steps"])

    @property
    def dropout(self) -> float:
        """Share of hidden neurons that are left out."""
        return self.number("dropout")

    def snapshot_steps(self, shares: tuple[float, ...]) -> list[int]:
        """Steps taken at each snapshot, rounded up."""
        return [ceil(round(share * self.steps, 6)) for share in shares]

    def initial(self, space: WeightSpace) -> Floats:
        """Weights ``[size]``: N(0, init_scale^2 / fan_in), biases 0."""
        generator, parts = self.generator("init"), []
        for name, shape in space.shapes.items():
            size = int(np.prod(shape))
            fan_in = size // shape[0]
            scale = self.number("init_scale") / np.sqrt(fan_in) if name[0] == "W" else 0.0
            parts.append(scale * generator.standard_normal(size))
        return np.concatenate(parts).astype(np.float32)

    def images(self, images: Images, part: Rows) -> tuple[Rows, Rows]:
        """Rows of a part of the source that are of the run's classes, and their true outputs."""
        if self.pair is None:
            return part, images.label[part]
        first, second = self.pair
        label = images.label[part]
        kept = (label == first) | (label == second)
        return part[kept], (label[kept] == second).astype(np.int64)

    def training(self, images: Images) -> tuple[Rows, Rows]:
        """Rows of the run's training images in random order, and the outputs it is to learn.

        A share of these is wrong: replaced by another of the classes that the source has, each
        equally likely.
        """
        rows, label = self.images(images, images.train)
        generator = self.generator("subset")
        kept = generator.permutation(len(rows))[
            : max(1, round(self.number("fraction") * len(rows)))
        ]
        rows, label = rows[kept], label[kept]
        generator = self.generator("label noise")
        wrong = generator.permutation(len(rows))[: round(self.number("label_noise") * len(rows))]
        known = np.arange(2) if self.pair else np.unique(images.label[images.train])
        place = np.searchsorted(known, label[wrong])
        label[wrong] = known[(place + generator.integers(1, len(known), len(wrong))) % len(known)]
        return rows, label


class Order:
    """Positions of a run's training images in the order in which it sees them."""

    def __init__(self, run: Run, images: int) -> None:
        self.generator, self.images = run.generator("order"), images
        self.waiting = np.empty(0, np.int64)

    def take(self, count: int) -> Rows:
        """The next ones: shuffled epochs, one after the other without a gap."""
        while len(self.waiting) < count:
            epoch = self.generator.permutation(self.images)
            self.waiting = np.concatenate([self.waiting, epoch])
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def draw_run(fit: Classifier, seed: int, pair: tuple[int, int] | None) -> Run:
    """A run with its hyper-parameters, each from a generator of its own."""
    run = Run(seed, {}, pair)
    settings = {name: sampled(getattr(fit, name), run.generator(name)) for name in HYPERPARAMETERS}
    return Run(seed, settings | {"steps": round(float(settings["steps"]))}, pair)


def dealt_pair(classes: list[int], seed: int, run: int) -> tuple[int, int]:
    """The pair of classes of a run: all pairs in a random order, then all in another, and so on."""
    pairs = [(a, b) for i, a in enumerate(classes) for b in classes[i + 1 :]]
    block, place = divmod(run, len(pairs))
    order = np.random.default_rng([seed, block, *b"pairs"]).permutation(len(pairs))
    return pairs[int(order[place])]
