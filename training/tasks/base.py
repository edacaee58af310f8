"""What a learning task is: its columns, targets, loss and metrics, and what its model gives.

A task is a typed part of a config (``task: {kind: regress, columns: [frequency]}``) and a file of
this folder. The loop, the tracking and the reports use tasks through this interface alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dws import WeightSpace
from training.augmentation import Augmentation
from training.data import WeightData
from training.models import Network
from training.tasks.metrics import Metric, Output
from zoo_gen import ConfigError, ForwardPass, Source, ZooReader
from zoo_gen.recipe.maker import Maker
from zoo_gen.recipe.recipe import SPLITS, hashed

Columns = dict[str, npt.NDArray[Any]]
Answers = dict[str, Tensor]
"""Split -> what the model answers to its networks, ``[networks, ...]``."""


@dataclass(frozen=True)
class Targets:
    """What a task makes of the columns of a zoo.

    Attributes:
        values: a row per network: int64 ``[n]`` of classes, float32 ``[n, k]`` of numbers, or
            whatever else the task's own loss takes.
        classes: one more than the greatest, 0 for a task without classes.
        names: of the classes, where the column holds text.
    """

    values: Tensor
    classes: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskData(WeightData):
    """The networks of a zoo with what a task makes of them.

    Attributes:
        task: what is learned.
        target: a row per network: classes int64 ``[n]``, numbers ``[n, k]``.
        classes: one more than the greatest class (not all need occur); 0 for a task without.
        class_names: of the classes, where the column holds text.
        context: what the task takes beside, such as images; see `Task.context`.
    """

    task: Task
    target: Tensor
    classes: int = 0
    class_names: tuple[str, ...] = ()
    context: Any = None

    @classmethod
    def blank(cls, space: WeightSpace, task: Task, classes: int, forward_pass: ForwardPass) -> Self:
        """Two networks of zeros, in every split: to build a model before there is a zoo."""
        two = torch.arange(2)
        return cls(
            space=space,
            theta=torch.zeros(2, space.size),
            member=two,
            rows=dict.fromkeys(SPLITS, two),
            forward_pass=forward_pass,
            task=task,
            target=task.blank_targets(2),
            classes=classes,
        )

    def augmented(
        self, augment: Augmentation, theta: Tensor, target: Tensor, source: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Networks augmented, and in their canonical form again if they came in one.

        Arguments and results are those of `Augmentation.apply`.
        """
        theta, target = augment.apply(
            self.space, theta, target, self.classes, source, self.forward_pass
        )
        if self.form is not None and augment != Augmentation():
            theta = self.form(theta)
        return theta, target


class Task(ABC):
    """A learning task on the networks of a zoo. Frozen and small: it is pickled and hashed.

    Attributes:
        kind: its name in a config.
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
        """What is reported of a model; the first chooses the best epoch and is what to tune for."""

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
        """What the task takes beside weights and targets; `TaskData.context`.

        Args:
            zoo: the networks'.
            columns: those that the task needs.
            source: of the signals, None where the zoo was not made by the config.

        Raises:
            ConfigError: it needs signals that nobody knows.
        """
        return None

    @abstractmethod
    def output(self, data: TaskData) -> Output:
        """What a model gives."""

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """A fresh model, from weights ``[m, size]`` to its output.

        Raises:
            ConfigError: the network cannot give that, or does not suit the space.
        """
        return network.build(data.space, self.output(data).size, data.forward_pass)

    def batch(
        self, data: TaskData, rows: Tensor, augment: Augmentation, source: torch.Generator
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
    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Sum over the networks of a batch, as `batch` gave it, of what is to become small."""

    def answers(
        self, model: nn.Module, data: TaskData, split: str, rows: Tensor, device: str
    ) -> Tensor:
        """What scores are computed from, for rows of a split: the model's output ``[m, ...]``."""
        return cast(Tensor, model(data.theta[rows].to(device)))

    @abstractmethod
    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """``loss`` and every metric of one split."""

    @abstractmethod
    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """What a model predicts for each network of a split: ``[n]`` or ``[n, k]``."""


def finite(columns: Columns, names: tuple[str, ...]) -> dict[str, int]:
    """Column -> how many of its values are no finite numbers; all of text."""
    bad = {}
    for name in names:
        values = columns[name]
        known = np.isfinite(values) if values.dtype.kind in "iuf" else np.zeros(len(values), bool)
        if not known.all():
            bad[name] = int((~known).sum())
    return bad
