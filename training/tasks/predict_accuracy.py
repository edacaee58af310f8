"""How well a classifier does on images that it never saw, predicted from its weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.tasks.base import Answers, Columns, Targets, TaskData
from training.tasks.metrics import Metric
from training.tasks.regress import Values
from zoo_gen import TrainingError


@dataclass(frozen=True)
class PredictAccuracy(Values):
    """Predict the test accuracy of classifiers (Unterthiner et al. 2020, arXiv 2002.11448).

    Least squares as in `training.tasks.regress`; what counts beside R² is the order of the
    networks: Kendall's tau.

    Attributes:
        column: of the accuracy.
    """

    kind: Literal["predict-accuracy"] = "predict-accuracy"
    column: str = "test_accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """R², Kendall's tau, and the mean squared error of accuracies in [0, 1]."""
        return (
            Metric("r2", "R²", greater=True, digits=4, best=1.0),
            Metric("tau", "Kendall's tau", greater=True, digits=4, best=1.0),
            Metric("mse", "MSE", greater=False, digits=5, best=0.0),
        )

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Accuracies, float32 ``[n, 1]``; in no split all the same, where R² is not defined."""
        found = super().targets(where, columns, rows)
        for split in ("val", "test"):
            if len(torch.unique(found.values[rows[split]])) < 2:
                raise TrainingError(
                    f"{where}: {self.column} has one value in the {split} split, where R² is then "
                    "not defined; use more networks"
                )
        return found

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """As of any values, and Kendall's tau (b: equal accuracies are no order)."""
        from scipy.stats import kendalltau

        target = data.target[data.rows[split]][:, 0]
        tau = float(kendalltau(answers[split][:, 0].numpy(), target.numpy()).statistic)
        return {**super().scores(data, answers, split), "tau": tau}
