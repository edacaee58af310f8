"""Which class a network's signal is of, predicted from the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.models import Network
from training.tasks.base import Answers, Columns, Targets, Task, TaskData
from training.tasks.metrics import Metric, Output
from zoo_gen import TrainingError


@dataclass(frozen=True)
class Classify(Task):
    """Predict a class by cross-entropy (Navon et al. 2023, section 7.2).

    Attributes:
        column: whole numbers from 0, or text, whose values in alphabetical order are the classes.
    """

    kind: Literal["classify"] = "classify"
    column: str = "label"

    @property
    def needs(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy."""
        return (Metric("accuracy", "accuracy", greater=True, unit="%", digits=1, best=1.0),)

    @property
    def settings(self) -> dict[str, Any]:
        """The column alone: results are older than tasks and keep their addresses."""
        return {"column": self.column}

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Classes, int64 ``[n]``."""
        target, names = class_numbers(where, self.column, columns)
        known = classes_of(where, target[rows["train"]])
        if strangers := sorted(set(target.tolist()) - set(known.tolist())):
            missing = [names[k] for k in strangers] if names else strangers
            raise TrainingError(
                f"{where}: the training split has no network of class {missing}; use more signals"
            )
        return Targets(target, int(target.max()) + 1, names)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """The network, if those of ``train_on`` are of several classes, as `targets` requires."""
        classes_of("train_on", data.target[data.rows["train"]])
        return super().build(network, data)

    def output(self, data: TaskData) -> Output:
        """A logit for each number up to the greatest class; one that is no class has no name."""
        known = set(torch.unique(data.target).tolist())
        names = data.class_names or (str(k) if k in known else "" for k in range(data.classes))
        return Output("logits", data.classes, tuple(names))

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        theta, target = batch
        return cross_entropy(model(theta), target, reduction="sum")

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """Mean cross-entropy, and the share of networks whose greatest logit is their class's."""
        logits, target = answers[split], data.target[data.rows[split]]
        loss = cross_entropy(logits.double(), target, reduction="mean").item()
        correct = int((logits.argmax(1) == target).sum())
        return {"loss": loss, "accuracy": correct / len(target)}

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Classes, int64 ``[n]``."""
        return answers[split].argmax(1)


def classes_of(where: str, target: Tensor) -> Tensor:
    """The classes of training networks, in order.

    Raises:
        TrainingError: there is one alone.
    """
    if len(known := torch.unique(target)) < 2:
        raise TrainingError(
            f"{where}: the {len(target)} training networks are all of class {int(known[0])}; use "
            "more networks, or a source of several classes"
        )
    return cast(Tensor, known)


def class_numbers(where: str, column: str, columns: Columns) -> tuple[Tensor, tuple[str, ...]]:
    """A column of classes, int64 ``[n]``, and their names where it holds text.

    Raises:
        TrainingError: it is unknown for some networks, or holds numbers that are no classes.
    """
    values = np.asarray(columns[column])
    if values.dtype.kind in "iufb":
        return whole_numbers(where, column, columns), ()
    if any(not isinstance(value, str) or not value for value in values):
        raise TrainingError(
            f"{where}: column {column!r} is unknown for some networks; give each of them a class, "
            "or leave them out"
        )
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64)), tuple(names.tolist())


def whole_numbers(where: str, column: str, columns: Columns) -> Tensor:
    """A column of classes, int64 ``[n]``.

    Raises:
        TrainingError: it holds something else.
    """
    values = columns[column]
    if (
        values.dtype.kind not in "iuf"
        or not (np.isfinite(values) & (values >= 0) & (values == np.floor(values))).all()
    ):
        raise TrainingError(
            f"{where}: column {column!r} is text, unknown for some networks, or not whole; a "
            "class is a whole number, 0 or more, that every network has"
        )
    return torch.from_numpy(values.astype(np.int64))
