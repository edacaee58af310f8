"""Embeddings learned without labels, from two views of each network; judged by a linear probe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from training.augmentation import Augmentation
from training.checks import check_positive
from training.models import Network
from training.tasks.base import Answers, TaskData
from training.tasks.metrics import Metric, Output
from training.tasks.regress import Values, check_columns, error_metrics, errors
from zoo_gen import ConfigError


@dataclass(frozen=True)
class Contrast(Values):
    """Contrastive learning, then linear regression on frozen embeddings (Navon et al. 2023, 7.4).

    The columns are never seen while the model learns; a validation probe chooses the epoch. Each
    worker contrasts the networks of its own slice of a batch.

    Attributes:
        columns: what the probe regresses.
        embedding: numbers per network.
        temperature: of the similarities.
        views: how each of the two views of a network is drawn. A model's own ``training.augment``
            comes after it.
        probe_ridge: penalty of the linear probe, relative to the variance of an embedding's entry.
            Collapsed embeddings spread along some directions by their rounding alone; without it,
            one network that leaves such a direction is answered by thousands.
    """

    kind: Literal["contrast"] = "contrast"
    columns: tuple[str, ...] = ("amplitude", "frequency")
    embedding: int = 16
    temperature: float = 0.1
    views: Augmentation = field(default_factory=lambda: Augmentation(noise=0.2, weight_dropout=0.1))
    probe_ridge: float = 1e-4
    references: ClassVar[tuple[str, ...]] = ("train",)

    def __post_init__(self) -> None:
        check_columns("columns", self.columns)
        check_positive("embedding", self.embedding)
        check_positive("temperature", self.temperature)
        if not 0 <= self.probe_ridge < math.inf:
            raise ConfigError(f"probe_ridge: got {self.probe_ridge}, expected 0 or more")
        check_views(self.views)

    @property
    def needs(self) -> tuple[str, ...]:
        """The probe's columns."""
        return self.columns

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The probe's mean squared error in the columns' units, and R²."""
        return error_metrics(digits=3)

    refused: ClassVar[tuple[str, ...]] = ("mixup",)

    def output(self, data: TaskData) -> Output:
        """An embedding."""
        return Output("embedding", self.embedding)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """The network alone: an embedding has no unit."""
        check_views(self.views, data)
        self.check_spread("train_on", data.target[data.rows["train"]])
        return network.build(data.space, self.embedding, data.forward_pass)

    def batch(
        self, data: TaskData, rows: Tensor, augment: Augmentation, source: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Two views of each network, ``[m, size]`` each."""
        return two_views(data, rows, (self.views, augment), source)

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """The normalised temperature-scaled cross-entropy of Chen et al. 2020 (SimCLR)."""
        one, two = batch
        z = normalize(model(torch.cat([one, two])), dim=1)
        return pair_loss(z, self.temperature)

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """The probe's loss and errors."""
        target = data.target[data.rows[split]].double()
        known = data.target[data.rows["train"]].double()
        answer = probe(answers, known, split, self.probe_ridge)
        loss = self.squared(data, answer, target).mean().item()
        return {"loss": loss, **errors(answer, target)}

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Embeddings ``[n, embedding]``."""
        return answers[split]


def check_views(views: Augmentation, data: TaskData | None = None) -> None:
    """Raise `ConfigError` where these give no views of a network, or these networks admit none."""
    if views.mixup:
        raise ConfigError("views.mixup: a mixture is no view of one network; leave it out")
    try:
        if data is not None:
            views.check(data.space, data.forward_pass)
    except ConfigError as error:
        raise ConfigError(f"task.views: {error}") from error


def two_views(
    data: TaskData, rows: Tensor, drawn: tuple[Augmentation, ...], source: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each network twice, each time augmented afresh by all of these in turn."""
    views = []
    for _ in range(2):
        theta, target = data.theta[rows], data.target[rows]
        for augment in drawn:
            theta, target = data.augmented(augment, theta, target, source)
        views.append(theta)
    return views[0], views[1]


def pair_loss(z: Tensor, temperature: float) -> Tensor:
    """Sum over m pairs of the cross-entropy by which each view finds its partner among all others.

    Args:
        z: ``[2 m, k]`` of length one; rows i and i + m are views of one network.
        temperature: of the similarities.
    """
    m = len(z) // 2
    similar = z @ z.T / temperature
    similar = similar.masked_fill(torch.eye(2 * m, dtype=torch.bool, device=z.device), -torch.inf)
    partner = torch.arange(2 * m, device=z.device).roll(m)
    return cross_entropy(similar, partner, reduction="sum") / 2


def probe(answers: Answers, train_target: Tensor, split: str, ridge: float) -> Tensor:
    """What a linear regression, fitted to the training networks' embeddings, says of a split.

    Args:
        answers: embeddings ``[n, k]`` of the split and of ``train``.
        train_target: float64 ``[n, columns]``.
        split: whose answers are wanted.
        ridge: penalty on squared coefficients, of standardised embeddings and per network.

    Returns:
        Float64 ``[n, columns]``.
    """
    known = answers["train"].double()
    mean, std = known.mean(0), known.std(0).clamp_min(1e-12)

    def scaled(z: Tensor) -> Tensor:
        return (z.double() - mean) / std

    # a penalty is a few more equations; gelsd: without one, embeddings may lack rank
    (n, k), middle = known.shape, train_target.mean(0)
    penalty = (ridge * n) ** 0.5 * torch.eye(k, dtype=torch.float64)
    equations = torch.cat([scaled(known), penalty])
    wanted = torch.cat([train_target - middle, train_target.new_zeros(k, len(middle))])
    fitted = torch.linalg.lstsq(equations, wanted, driver="gelsd").solution
    return cast(Tensor, scaled(answers[split]) @ fitted + middle)
