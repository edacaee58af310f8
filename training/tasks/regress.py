"""Numbers that are known of networks, predicted from the weights: a sine's frequency, say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from training.models import Network
from training.tasks.base import Answers, Columns, Targets, Task, TaskData, finite
from training.tasks.metrics import Metric, Output
from zoo_gen import ConfigError, TrainingError


class Values(Task):
    """Predict columns of numbers by least squares; the model answers in the columns' own units.

    Inside, targets count in standard deviations of the training networks, so that columns of
    different units weigh the same.
    """

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Float32 ``[n, columns]``."""
        with np.errstate(over="ignore"):  # what single precision cannot hold is refused below
            columns = {
                name: x.astype(np.float32) if (x := columns[name]).dtype.kind in "iuf" else x
                for name in self.needs
            }
        if bad := finite(columns, self.needs):
            lacking = ", ".join(f"{name!r} for {n}" for name, n in bad.items())
            raise TrainingError(
                f"{where}: a number is missing, not finite or above 3e38 in column {lacking} of "
                f"{len(columns[self.needs[0]])} networks; every network needs one"
            )
        values = np.stack([columns[name] for name in self.needs], 1)
        target = torch.from_numpy(values)
        self.check_spread(where, target[rows["train"]])
        return Targets(target)

    def check_spread(self, where: str, target: Tensor) -> None:
        """Raise `TrainingError` unless each column of training targets has several values.

        Not by the standard deviation: by rounding, that of a constant is seldom 0.
        """
        same = (target == target[0]).all(0).tolist()
        if constant := [name for name, one in zip(self.needs, same, strict=True) if one]:
            raise TrainingError(
                f"{where}: {', '.join(constant)} has one value in the training split; there is "
                "nothing to learn"
            )

    def blank_targets(self, networks: int) -> Tensor:
        """``[networks, columns]``, all different, so that a model can be built."""
        return torch.arange(float(networks)).unsqueeze(1).expand(-1, len(self.needs))

    def output(self, data: TaskData) -> Output:
        """A value for each column."""
        return Output("values", len(self.needs), self.needs)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """The network, its answers scaled to the columns."""
        target = data.target[data.rows["train"]]
        self.check_spread("train_on", target)  # `targets` checked the whole split
        net = network.build(data.space, len(self.needs), data.forward_pass)
        return InUnits(net, target.double().mean(0).float(), deviation(target).float())

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Squared error in training deviations, the mean over columns."""
        theta, target = batch
        return self.squared(data, model(theta), target).sum()

    def squared(self, data: TaskData, answer: Tensor, target: Tensor) -> Tensor:
        """Squared error of each network in training deviations, the mean over columns ``[m]``."""
        std = deviation(data.target[data.rows["train"]]).to(answer)
        return ((answer - target) / std).square().mean(1)

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """The loss, R² and the mean squared error in the columns' units, means over columns."""
        answer, target = answers[split].double(), data.target[data.rows[split]].double()
        loss = self.squared(data, answer, target).mean().item()
        return {"loss": loss, **errors(answer, target)}

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Values ``[n, columns]`` in their units."""
        return answers[split]


@dataclass(frozen=True)
class Regress(Values):
    """Predict columns of numbers (Navon et al. 2023, section 7.1: the frequency of a sine).

    Attributes:
        columns: of the zoo, one or more.
    """

    kind: Literal["regress"] = "regress"
    columns: tuple[str, ...] = ("frequency",)

    def __post_init__(self) -> None:
        check_columns("columns", self.columns)

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Mean squared error in the columns' units, and R²."""
        return error_metrics(digits=4)


class InUnits(nn.Module):
    """A network whose answers are scaled: ``mean + std * net(theta)``.

    Args:
        net: from ``[m, size]`` to ``[m, k]``.
        mean, std: ``[k]``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @property
    def standardize(self) -> nn.Module:
        """The network's own."""
        return cast(nn.Module, self.net.standardize)

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, k]``."""
        return self.mean + self.std * cast(Tensor, self.net(theta))


def deviation(target: Tensor) -> Tensor:
    """Standard deviation of targets ``[n, k]`` over the networks, float64 ``[k]``."""
    return target.double().std(0, correction=0)


def error_metrics(digits: int) -> tuple[Metric, ...]:
    """What `errors` gives, as metrics that are shown with so many digits."""
    return (
        Metric("mse", "MSE", greater=False, digits=digits, best=0.0),
        Metric("r2", "R²", greater=True, digits=digits, best=1.0),
    )


def errors(answer: Tensor, target: Tensor) -> dict[str, float]:
    """R² and the mean squared error of answers ``[n, k]``, means over columns.

    R² is ``1 - squared error / squared distance from the mean of these targets``; NaN where the
    targets are all equal.
    """
    squared = (answer - target).square()
    spread = (target - target.mean(0)).square().sum(0)
    share = torch.where(spread > 0, squared.sum(0) / spread, torch.nan)
    return {"r2": 1 - share.mean().item(), "mse": squared.mean().item()}


def check_columns(key: str, columns: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless there are some, each once."""
    if not columns or len(set(columns)) < len(columns):
        raise ConfigError(f"{key}: got {list(columns)}, expected one or more names, each once")
