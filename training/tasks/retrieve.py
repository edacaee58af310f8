"""Embeddings in which networks of one class are near: find to a network those most like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.augmentation import Augmentation
from training.checks import check_positive
from training.models import Network
from training.tasks.base import Answers, Columns, Targets, Task, TaskData
from training.tasks.classify import Classify, classes_of
from training.tasks.contrast import check_views, two_views
from training.tasks.metrics import Metric, Output

NEIGHBOURS = 10
COMPARED = 2048  # networks with each other, for the loss of a split
AT_ONCE = 512  # networks whose neighbours are looked for together


@dataclass(frozen=True)
class Retrieve(Task):
    """Supervised contrastive embeddings (Khosla et al. 2020, arXiv 2004.11362), searched by cosine.

    Among the training networks those nearest to a network of another split are looked up. Each
    worker contrasts the networks of its own slice of a batch.

    Attributes:
        column: classes; networks of one class are to be near.
        embedding: numbers per network.
        temperature: of the similarities.
        views: how each of the two views of a network is drawn.
    """

    kind: Literal["retrieve"] = "retrieve"
    column: str = "label"
    embedding: int = 32
    temperature: float = 0.1
    views: Augmentation = field(default_factory=Augmentation)
    references: ClassVar[tuple[str, ...]] = ("train",)
    refused: ClassVar[tuple[str, ...]] = ("mixup",)

    def __post_init__(self) -> None:
        check_positive("embedding", self.embedding)
        check_positive("temperature", self.temperature)
        check_views(self.views)

    @property
    def needs(self) -> tuple[str, ...]:
        """The classes."""
        return (self.column,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Share of nearest neighbours of the right class, and of the ten nearest."""
        return (
            Metric("top1", "nearest of its class", greater=True, unit="%", digits=1, best=1.0),
            Metric("top10", "of 10 nearest", greater=True, unit="%", digits=1, best=1.0),
        )

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Classes, int64 ``[n]``."""
        return Classify(column=self.column).targets(where, columns, rows)

    def output(self, data: TaskData) -> Output:
        """An embedding."""
        return Output("embedding", self.embedding)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """The network alone: an embedding has no unit."""
        check_views(self.views, data)
        classes_of("train_on", data.target[data.rows["train"]])
        return super().build(network, data)

    def batch(
        self, data: TaskData, rows: Tensor, augment: Augmentation, source: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Two views of each network ``[m, size]``, and classes ``[m]``."""
        return (*two_views(data, rows, (self.views, augment), source), data.target[rows])

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Mean cross-entropy by which each view finds those of its class among all others."""
        one, two, label = batch
        z = normalize(model(torch.cat([one, two])), dim=1)
        return class_loss(z, label.repeat(2), self.temperature) * len(label)

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """The loss among the first of the split, and how many neighbours are of the right class."""
        label = data.target[data.rows[split]]
        found = data.target[data.rows["train"]][neighbours(answers, split)]
        right = (found == label.unsqueeze(1)).double()
        z = normalize(answers[split][:COMPARED], dim=1)
        return {
            "loss": class_loss(z, label[:COMPARED], self.temperature).item(),
            "top1": right[:, 0].mean().item(),
            "top10": right.mean().item(),
        }

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Members of the zoo nearest to each network, the nearest first: int64 ``[n, 10]``."""
        return data.member[data.rows["train"]][neighbours(answers, split)]


def class_loss(z: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Mean over rows of minus the mean log-probability of the other rows of its class.

    Args:
        z: ``[n, k]`` of length one.
        label: int64 ``[n]``; rows that are alone in their class do not count.
        temperature: of the similarities.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = similar - similar.logsumexp(1, keepdim=True)
    same = (label.unsqueeze(0) == label.unsqueeze(1)) & ~itself
    total = log_share.masked_fill(~same, 0.0).sum(1)
    counts = same.sum(1)
    counted = counts > 0
    return -(total[counted] / counts[counted]).sum() / counted.sum().clamp_min(1)


def neighbours(answers: Answers, split: str) -> Tensor:
    """Positions among the training networks of those nearest by cosine: ``[n, 10]`` or fewer."""
    known, asked = (normalize(answers[name], dim=1) for name in ("train", split))
    count = min(NEIGHBOURS, len(known))
    parts = [(some @ known.T).topk(count, dim=1).indices for some in asked.split(AT_ONCE)]
    return torch.cat(parts)
