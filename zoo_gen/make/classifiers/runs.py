"""What each run trains on and with: functions of its own seed and the labelled images alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from dws import WeightSpace
from zoo_gen.recipe.classifier import HYPERPARAMETERS, Classifier
from zoo_gen.recipe.draws import Value, sampled
from zoo_gen.sources.labelled import LabelledImages, Rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassifierRun:
    """One training.

    Attributes:
        seed: of everything that is drawn for it.
        settings: its hyper-parameters, by name.
        pair: its two classes, None for all of the source.
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

    def images(self, images: LabelledImages, part: Rows) -> tuple[Rows, Rows]:
        """Rows of a part of the source that are of the run's classes, and their true outputs."""
        if self.pair is None:
            return part, images.label[part]
        first, second = self.pair
        label = images.label[part]
        kept = (label == first) | (label == second)
        return part[kept], (label[kept] == second).astype(np.int64)

    def training(self, images: LabelledImages) -> tuple[Rows, Rows]:
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

    def __init__(self, run: ClassifierRun, images: int) -> None:
        self.generator, self.images = run.generator("order"), images
        self.waiting = np.empty(0, np.int64)

    def take(self, count: int) -> Rows:
        """The next ones: shuffled epochs, one after the other without a gap."""
        while len(self.waiting) < count:
            epoch = self.generator.permutation(self.images)
            self.waiting = np.concatenate([self.waiting, epoch])
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def draw_run(fit: Classifier, seed: int, pair: tuple[int, int] | None) -> ClassifierRun:
    """A run with its hyper-parameters, each from a generator of its own."""
    run = ClassifierRun(seed, {}, pair)
    settings = {name: sampled(getattr(fit, name), run.generator(name)) for name in HYPERPARAMETERS}
    return ClassifierRun(seed, settings | {"steps": round(float(settings["steps"]))}, pair)


def dealt_pair(classes: list[int], seed: int, run: int) -> tuple[int, int]:
    """The pair of classes of a run: all pairs in a random order, then all in another, and so on."""
    pairs = [(a, b) for i, a in enumerate(classes) for b in classes[i + 1 :]]
    block, place = divmod(run, len(pairs))
    order = np.random.default_rng([seed, block, *b"pairs"]).permutation(len(pairs))
    return pairs[int(order[place])]
