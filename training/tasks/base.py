"""What a learning task is: its columns, targets, loss and metrics, and what its model gives.

A task is a typed part of a config (``task: {kind: regress, columns: [frequency]}``) and a file of
this folder. The loop, the tracking and the reports know tasks by what stands here and no further.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.models import Network
from zoo_gen import ConfigError, Source, ZooReader
from zoo_gen.recipe.maker import Maker
from zoo_gen.recipe.recipe import hashed

if TYPE_CHECKING:
    from training.augmentation import Augmentation
    from training.data import WeightData

Columns = dict[str, npt.NDArray[Any]]
Answers = dict[str, Tensor]
"""Split -> what the model answers to its networks, ``[networks, ...]``."""


@dataclass(frozen=True)
class Metric:
    """How good a model is.

    Attributes:
        name: as it is tracked: ``val_NAME``, ``test_NAME``.
        title: for people.
        greater: whether more is better.
        unit: after the number; ``"%"`` shows a share in percent.
        digits: after the point.
        best: the value that no model betters, None where there is none.
    """

    name: str
    title: str
    greater: bool
    unit: str = ""
    digits: int = 3
    best: float | None = None

    @property
    def heading(self) -> str:
        """Title and unit, for a column or an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def merit(self, value: float) -> float:
        """What is greater of a better value; NaN is worst."""
        return -math.inf if math.isnan(value) else value if self.greater else -value

    def scaled(self, value: float) -> float:
        """In its unit."""
        return 100 * value if self.unit == "%" else value

    def text(self, values: list[float]) -> str:
        """Mean and sample standard deviation, without the unit; the mean alone of one value."""
        shown = [self.scaled(v) for v in values]
        mean = f"{statistics.mean(shown):.{self.digits}f}"
        return f"{mean} ± {sample_deviation(shown):.{self.digits}f}" if len(shown) > 1 else mean


def sample_deviation(values: list[float]) -> float:
    """Sample standard deviation: 0 of one value, NaN where one of several is not finite."""
    if len(values) > 1 and not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Output:
    """What a trained model gives for each network: ``[m, size]``.

    Attributes:
        kind: ``"logits"`` of classes, ``"values"`` in the units of their columns, an
            ``"embedding"``, or changed ``"weights"`` of the same network.
        size: numbers per network.
        names: of the values, if they have any: columns, or classes as text, empty for a number that
            is no class of the zoo.
    """

    kind: Literal["logits", "values", "embedding", "weights"]
    size: int
    names: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "names": list(self.names)}


@dataclass(frozen=True)
class Targets:
    """What a task makes of the columns of a zoo.

    Attributes:
        values: a row per network: int64 ``[n]`` of classes, float32 ``[n, k]`` of numbers, or
            whatever else the task's own loss takes.
        classes: one more than the greatest, 0 for a task without classes.
    """

    values: Tensor
    classes: int = 0


class Task(ABC):
    """A learning task on the networks of a zoo. Frozen and small: it travels and is hashed.

    Attributes:
        kind: the word that a config says.
        references: splits whose answers are needed to score another one, such as the training
            networks of a linear probe.
        refused: augmentations that would make the targets wrong.
        takes_signals: whether it also takes what the networks were fitted to or trained on.
    """

    kind: str
    references: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[tuple[str, ...]] = ()
    takes_signals: ClassVar[bool] = False

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Columns of the zoo, beside the weights."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What is told of a model; the first chooses the best epoch and is what to tune for."""

    @property
    def main(self) -> Metric:
        """The first metric."""
        return self.metrics[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What changes a result, as plain data."""
        return {"task": hashed(self)}

    @abstractmethod
    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Targets of the networks.

        Args:
            where: the zoo's address, for messages.
            columns: those that the task needs, a value per network.
            rows: split -> rows of the columns.

        Raises:
            TrainingError: values that cannot be learned; says which column and why.
        """

    def blank_targets(self, networks: int) -> Tensor:
        """Targets of no meaning, to build a model before there is a zoo: 0 and 1 in turn."""
        return torch.arange(networks) % 2

    def check_augmentation(self, augment: Augmentation) -> None:
        """Raise `ConfigError` where what is drawn afresh would make the task's targets wrong."""
        for key in self.refused:
            if value := getattr(augment, key):
                raise ConfigError(
                    f"augment.{key}: got {value}, but it changes what networks compute, and the "
                    f"targets of {self.kind} are those of the very networks"
                )

    def check_fit(self, fit: Maker | None) -> None:
        """Raise `ConfigError` unless networks that were made so can learn the task.

        Args:
            fit: how; None of networks that were imported, or where the config does not make them.
        """
        if self.takes_signals and fit is None:
            raise ConfigError(
                f"task: {self.kind} takes what the networks were made of beside their weights, "
                "which a zoo does not hold; use a config that makes its zoo"
            )

    def context(self, zoo: ZooReader, columns: Columns, source: Source | None) -> Any:
        """What the task takes beside weights and targets; `WeightData.context`.

        Args:
            zoo: the networks'.
            columns: those that the task needs.
            source: of the signals, None where the zoo was not made by the config.

        Raises:
            ConfigError: it needs signals that nobody knows.
        """
        return None

    @abstractmethod
    def output(self, data: WeightData) -> Output:
        """What a model gives."""

    def build(self, network: Network, data: WeightData) -> nn.Module:
        """A fresh model, from weights ``[m, size]`` to its output.

        Raises:
            ConfigError: the network cannot give that, or does not suit the space.
        """
        return network.build(data.space, self.output(data).size, data.forward_pass)

    def batch(
        self, data: WeightData, rows: Tensor, augment: Augmentation, source: torch.Generator
    ) -> tuple[Tensor, ...]:
        """What the loss takes of a batch, each with a row per network: weights and targets.

        Args:
            data: the networks.
            rows: of the batch, ``[m]``.
            augment: of the weights.
            source: of all randomness.
        """
        theta, target = data.theta[rows], data.target[rows]
        return data.augmented(augment, theta, target, source)

    @abstractmethod
    def loss(self, model: nn.Module, data: WeightData, *batch: Tensor) -> Tensor:
        """Sum over the networks of a batch, as `batch` gave it, of what is to become small."""

    def answers(
        self, model: nn.Module, data: WeightData, split: str, rows: Tensor, device: str
    ) -> Tensor:
        """What scores are made of, for networks of a split: the model's output ``[m, ...]``."""
        return cast(Tensor, model(data.theta[rows].to(device)))

    @abstractmethod
    def scores(self, data: WeightData, answers: Answers, split: str) -> dict[str, float]:
        """``loss`` and every metric of one split."""

    @abstractmethod
    def predictions(self, data: WeightData, answers: Answers, split: str) -> Tensor:
        """What a model says of each network of a split, for the record: ``[n]`` or ``[n, k]``."""


def finite(columns: Columns, names: tuple[str, ...]) -> dict[str, int]:
    """Column -> how many of its values are no finite numbers; all of text."""
    bad = {}
    for name in names:
        values = columns[name]
        known = np.isfinite(values) if values.dtype.kind in "iuf" else np.zeros(len(values), bool)
        if not known.all():
            bad[name] = int((~known).sum())
    return bad
