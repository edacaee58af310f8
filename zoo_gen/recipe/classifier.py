"""How a zoo of classifiers is made: the settings, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.architectures import ACTIVATIONS, Architecture
from zoo_gen.recipe.draws import Draw, extremes
from zoo_gen.recipe.maker import Maker
from zoo_gen.recipe.scores import Scores, accuracy_of_rows
from zoo_gen.recipe.split import Split
from zoo_gen.sources import Signals
from zoo_gen.sources.labelled import InputShape, LabelledImages

OPTIMIZERS = ("adam", "sgd", "rmsprop")


@dataclass(frozen=True)
class Classifier(Maker):
    """Small classifiers of the source's images, each trained with settings of its own.

    A *run* is one training; its *snapshots* are the rows of the zoo. What varies is written as
    `Draw`, for example ``learning_rate: {log_uniform: [1e-4, 1e-2]}``, and drawn for
    each run from its own seed. Minibatches are cut from epochs of the run's own training images,
    each in a fresh order, one epoch after the other without a gap.

    Attributes:
        network: what is trained; its ``kind`` says which.
        runs: how many trainings.
        snapshots: shares of a run's steps at which its weights become a row; 0 for the initial
            weights, 1 for the last.
        batch_size: images per step.
        evaluation_images: how many images the columns of accuracy and loss use, of each part, at
            most; the same random ones for every run.
        classes: None for all of the source, or ``"pairs"``: each run has two classes, all pairs
            equally often.
        optimizer: adam, sgd (momentum 0.9) or rmsprop, as ``torch.optim`` has them.
        learning_rate: constant over a run.
        weight_decay: added to the gradient, times the weights, as in ``torch.optim``.
        init_scale: initial weights are N(0, init_scale^2 / fan_in), biases 0.
        activation: relu or tanh.
        dropout: share of hidden neurons (of a CNN: whole channels) left out at each step.
        label_noise: share of the run's training images that carry a wrong class.
        fraction: share of the source's training images that the run sees.
        steps: of the optimiser.
    """

    network: Architecture = field(metadata={"discriminator": "kind"})
    runs: int = field(metadata={"hash": False})  # the recipe counts those that are used
    snapshots: tuple[float, ...] = (1.0,)
    batch_size: int = 64
    evaluation_images: int = 2000
    classes: Literal["pairs"] | None = None
    optimizer: str | Draw = "adam"
    learning_rate: float | Draw = 1e-3
    weight_decay: float | Draw = 0.0
    init_scale: float | Draw = 1.4
    activation: str | Draw = "relu"
    dropout: float | Draw = 0.0
    label_noise: float | Draw = 0.0
    fraction: float | Draw = 1.0
    steps: int | Draw = 1000
    kind: Literal["classifier"] = "classifier"

    format: ClassVar[int] = 2  # in 1 they were scored on the first images of a part
    per_signal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for key in ("runs", "batch_size", "evaluation_images"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}: got {getattr(self, key)}, expected 1 or more")
        rising = all(a < b for a, b in pairwise(self.snapshots))
        if not self.snapshots or not rising or not _within(self.snapshots, 0, 1):
            raise ConfigError(
                f"snapshots: got {list(self.snapshots)}, expected rising shares of the steps, "
                "from 0 (the initial weights) to 1 (the last), for example [0, 0.5, 1]"
            )
        self._check("learning_rate", "numbers above 0", lambda v: v > 0)
        self._check("init_scale", "numbers above 0", lambda v: v > 0)
        self._check("weight_decay", "numbers, 0 or more", lambda v: v >= 0)
        self._check("dropout", "numbers from 0 to less than 1", lambda v: 0 <= v < 1)
        self._check("label_noise", "numbers from 0 to 1", lambda v: 0 <= v <= 1)
        self._check("fraction", "numbers above 0, at most 1", lambda v: 0 < v <= 1)
        self._check("steps", "whole numbers, 1 or more", self._whole)
        for key, known in (("activation", tuple(ACTIVATIONS)), ("optimizer", OPTIMIZERS)):
            for value in extremes(getattr(self, key)):
                if value not in known:
                    raise ConfigError(f"{key}: got {value!r}, expected {' or '.join(known)}")

    def _whole(self, value: float) -> bool:
        """Ranges may have any bounds, what is drawn is rounded; choices and numbers are whole."""
        ranged = isinstance(self.steps, Draw) and self.steps.choice is None
        return value >= 1 and (ranged or float(value).is_integer())

    def _check(self, key: str, expected: str, allowed: Callable[[float], bool]) -> None:
        for value in extremes(getattr(self, key)):
            if isinstance(value, str) or not isfinite(value) or not allowed(value):
                raise ConfigError(f"{key}: got {value!r}, expected {expected}")

    @classmethod
    def read(cls, plain: dict[str, Any], groups: int) -> Self:
        """The number of runs is not among the stored fields: it is that of groups."""
        return super().read({**plain, "runs": groups}, groups)

    def views(self, views: int, rows_per_shard: int) -> int:
        """The snapshots of a run, which are in one shard."""
        snapshots = len(self.snapshots)
        if views not in (1, snapshots):
            raise ConfigError(
                f"views: got {views}, but the rows of a run of classifiers are its "
                f"{snapshots} snapshot(s): leave views out, or change fit.snapshots or fit.runs"
            )
        if rows_per_shard % snapshots:
            raise ConfigError(
                f"rows_per_shard: got {rows_per_shard}, expected a multiple of the "
                f"{snapshots} snapshots of a run"
            )
        return snapshots

    def visible(self, signals: Signals, limit: int | None) -> Signals:
        """All of them: a limit is one of runs."""
        return signals

    def groups(self, signals: Signals, limit: int | None) -> int:
        """The runs, or the first of them."""
        if limit is not None and not 1 <= limit <= self.runs:
            raise ConfigError(
                f"limit: got {limit}, expected 1 to {self.runs} (zoo.fit.runs, how many "
                "trainings there are)"
            )
        LabelledImages.of(signals)  # with a test part
        return self.runs if limit is None else limit

    def space_of(self, signals: Signals) -> WeightSpace:
        """The weight space of networks that are trained on these images."""
        images = LabelledImages.of(signals)
        return self.space(images.shape, images.classes)

    def space(self, image: InputShape, classes: int) -> WeightSpace:
        """The weight space of the networks.

        Args:
            image: channels, height and width.
            classes: of the source.
        """
        return self.network.space(image, self.outputs(classes))

    def torch_shapes(self, space: WeightSpace) -> dict[str, tuple[int, ...]] | None:
        """Of CNNs, whose kernels have two sides."""
        return self.network.torch_shapes(space)

    def splits(self, split: Split, signals: Signals, groups: int) -> npt.NDArray[np.str_]:
        """The split of each run, whatever its images are."""
        return split.deal(np.full(groups, ""), "runs")

    def columns(self, signals: Signals) -> tuple[str, ...]:
        """Scores, and what was drawn for each run."""
        return self.column_names(pairs=self.classes is not None)

    @staticmethod
    def column_names(pairs: bool) -> tuple[str, ...]:
        """The same of networks of all classes, or of pairs of them."""
        drawn = [RUN_STEPS if name == "steps" else name for name in HYPERPARAMETERS]
        return (*SCORES, *drawn, *(PAIR if pairs else ()))

    @property
    def members_are(self) -> str:
        """Classifiers."""
        return "classifiers"

    @property
    def pair_architecture(self) -> Architecture | None:
        """That of the networks where each has two classes."""
        return self.network if self.classes == "pairs" else None

    def outputs(self, classes: int) -> int:
        """Classes of one network, of so many of the source."""
        return classes if self.classes is None else 2

    def evaluate(
        self, space: WeightSpace, theta: Tensor, columns: dict[str, Any], images: Any, labels: Any
    ) -> Scores:
        """Loss and accuracy, each network on the images of its own classes."""
        return accuracy_of_rows(self.network, space, theta, columns, images, labels)


HYPERPARAMETERS = (
    "optimizer",
    "learning_rate",
    "weight_decay",
    "init_scale",
    "activation",
    "dropout",
    "label_noise",
    "fraction",
    "steps",
)
SCORES = ("train_accuracy", "train_loss", "test_accuracy", "test_loss")
PAIR = ("class_a", "class_b")
RUN_STEPS = "run_steps"  # beside `steps`, which are those of the snapshot


def _within(values: Iterable[float], low: float, high: float) -> bool:
    return all(low <= v <= high for v in values)
