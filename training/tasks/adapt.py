"""Classifiers changed so that they do well on images of another domain, without seeing any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dws import forward
from training.augmentation import Augmentation
from training.checks import check_positive
from training.models import FineTuneNetwork, Network
from training.models.editors import Unchanged, build_editor
from training.tasks.base import Answers, Columns, Targets, Task, TaskData
from training.tasks.metrics import Metric, Output
from zoo_gen import ConfigError, Mlp, Source, TrainingError, ZooReader
from zoo_gen.make.classifiers import CORRUPTIONS, corrupt
from zoo_gen.recipe.maker import Maker
from zoo_gen.sources.labelled import LabelledImages

AT_ONCE = 16  # classifiers that are evaluated together
CLASSES = ("class_a", "class_b")
ACTIVATIONS = ("relu", "tanh")


@dataclass(frozen=True)
class Domain:
    """Corrupted images of two classes each, as classifiers take them.

    Attributes:
        pixels: split -> float32 ``[classes, images, inputs]``: those that models learn from, those
            that choose the epoch, those that are tested on.
    """

    pixels: dict[str, Tensor]


@dataclass(frozen=True)
class Adapt(Task):
    """Learn a change of a classifier's weights that helps on corrupted images.

    The model sees weights alone. It is trained through the loss of the changed training classifiers
    on corrupted training images; validation classifiers are scored on one half of the corrupted
    test images, test classifiers on the other (Navon et al. 2023, section 7.3).

    Attributes:
        corruptions: each image suffers one of these, in turn. A model changes a classifier once for
            all of them: what one needs may harm on another.
        severity: 1 to 5.
        images: of each class, to learn from.
        evaluation_images: of each class, of either half of the test images, at most.
        images_per_step: that a classifier of a batch sees.
    """

    kind: Literal["adapt"] = "adapt"
    corruptions: tuple[str, ...] = ("fog",)
    severity: int = 3
    images: int = 500
    evaluation_images: int = 250
    images_per_step: int = 32
    takes_signals: ClassVar[bool] = True
    refused: ClassVar[tuple[str, ...]] = ("mixup",)

    def __post_init__(self) -> None:
        for key in ("images", "evaluation_images", "images_per_step"):
            check_positive(key, getattr(self, key))
        if not self.corruptions:
            raise ConfigError(f"corruptions: got none, expected some of {', '.join(CORRUPTIONS)}")
        if unknown := [name for name in self.corruptions if name not in CORRUPTIONS]:
            raise ConfigError(
                f"corruptions: got {unknown[0]!r}, expected some of {', '.join(CORRUPTIONS)}"
            )
        if self.severity not in range(1, 6):
            raise ConfigError(f"severity: got {self.severity}, expected 1, 2, 3, 4 or 5")

    @property
    def needs(self) -> tuple[str, ...]:
        """The two classes of each classifier, and its activation."""
        return (*CLASSES, "activation")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy of the changed classifiers on corrupted images, their mean."""
        return (Metric("accuracy", "accuracy", greater=True, unit="%", digits=2, best=1.0),)

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Both classes and the number of the activation, int64 ``[n, 3]``."""
        units = [ACTIVATIONS.index(str(name)) for name in columns["activation"]]
        values = np.stack([*(columns[name].astype(np.int64) for name in CLASSES), units], 1)
        return Targets(torch.from_numpy(values))

    def check_fit(self, fit: Maker | None) -> None:
        """Refuse all but MLPs that classify pairs of classes."""
        super().check_fit(fit)
        architecture = None if fit is None else fit.pair_architecture
        if architecture is None:
            raise ConfigError(
                "task: adapt changes classifiers of two classes each; use a zoo of them (zoo.fit: "
                "{kind: classifier, classes: pairs}), such as adapt-cifar10"
            )
        if not isinstance(architecture, Mlp):
            raise ConfigError("task: adapt changes MLPs; it does not know convolutions")

    def context(self, zoo: ZooReader, columns: Columns, source: Source | None) -> Domain:
        """The corrupted images."""
        self.check_fit(zoo.maker if source is not None else None)
        assert source is not None
        assert zoo.maker is not None
        assert zoo.maker.pair_architecture is not None
        images = LabelledImages.of(source.load())
        low, high = zoo.maker.pair_architecture.pixels
        classes = np.unique(images.label[images.train])
        parts = {"train": images.train, "test": images.test[1::2], "val": images.test[0::2]}
        pixels = {}
        for seed, (split, rows) in enumerate(parts.items()):  # no split suffers another's draws
            count = self.images if split == "train" else self.evaluation_images
            kept = [rows[images.label[rows] == k][:count] for k in classes]
            if not (count := min(map(len, kept))):
                raise TrainingError(
                    f"task: adapt needs images of each class in either half of the test images; "
                    f"the {split} half has none of class {classes[[len(r) == 0 for r in kept]][0]}"
                )
            clean = images.take(np.concatenate([rows[:count] for rows in kept]))
            spoiled = self.spoiled(clean.reshape(-1, *images.shape), seed)
            values = low + (high - low) * torch.from_numpy(spoiled)
            pixels[split] = values.new_zeros(images.classes, count, values[0].numel())
            pixels[split][classes] = values.reshape(len(classes), count, -1)
        return Domain(pixels)

    def spoiled(self, images: np.ndarray, seed: int) -> np.ndarray:
        """Images ``[n, channels, height, width]``, each with one of the corruptions in turn."""
        out = np.empty_like(images, np.float32)
        for i, name in enumerate(self.corruptions):
            mine = slice(i, None, len(self.corruptions))
            out[mine] = corrupt(images[mine], name, self.severity, seed)
        return out

    def output(self, data: TaskData) -> Output:
        """Changed weights of the same classifier."""
        return Output("weights", data.space.size)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """A model that begins by changing nothing."""
        if isinstance(network, FineTuneNetwork):
            return FineTune(network, data)
        return build_editor(network, data.space, data.forward_pass)

    def batch(
        self, data: TaskData, rows: Tensor, augment: Augmentation, source: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Weights ``[m, size]``, targets ``[m, 3]``, and which images ``[m, images_per_step]``."""
        theta, _ = data.augmented(augment, data.theta[rows], rows, source)
        count = 2 * data.context.pixels["train"].shape[1]
        drawn = torch.randint(count, (len(rows), self.images_per_step), generator=source)
        return theta, data.target[rows], drawn

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Mean cross-entropy of each changed classifier on its images."""
        theta, target, drawn = batch
        x, y = self.pairs(data, "train", target, drawn)
        logits = answered(data, model(theta), x, target[:, 2])
        return cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]

    def pairs(
        self, data: TaskData, split: str, target: Tensor, drawn: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Images of two classes for each of m classifiers.

        Args:
            drawn: ``[m, k]``: first all images of the one class, then all of the other, counted.

        Returns:
            ``[m, k, inputs]``, and which output is right ``[m, k]``.
        """
        known: Tensor = data.context.pixels[split]
        side, place = drawn.div(known.shape[1], rounding_mode="floor"), drawn % known.shape[1]
        label = target[:, :2].gather(1, side)
        return known[label.cpu(), place.cpu()].to(target.device), side

    def answers(
        self, model: nn.Module, data: TaskData, split: str, rows: Tensor, device: str
    ) -> Tensor:
        """Loss and accuracy of each changed classifier on all images of the split ``[m, 2]``."""
        everything = torch.arange(2 * data.context.pixels[split].shape[1], device=device)
        found = []
        for some in rows.split(AT_ONCE):
            theta, target = data.theta[some].to(device), data.target[some].to(device)
            if isinstance(model, FineTune):
                theta = model.tuned(self, data, theta, target, data.member[some])
            x, y = self.pairs(data, split, target, everything.expand(len(some), -1))
            logits = answered(data, model(theta), x, target[:, 2])
            loss = cross_entropy(logits.movedim(2, 1), y, reduction="none").mean(1)
            found.append(torch.stack([loss, (logits.argmax(2) == y).float().mean(1)], 1))
        return torch.cat(found)

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """Means over classifiers."""
        loss, accuracy = answers[split].double().mean(0).tolist()
        return {"loss": loss, "accuracy": accuracy}

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Accuracy of each changed classifier ``[n]``."""
        return answers[split][:, 1]


def answered(data: TaskData, theta: Tensor, x: Tensor, units: Tensor) -> Tensor:
    """Logits ``[m, k, outputs]`` of m classifiers on images ``[m, k, inputs]`` of their own."""
    kinds = units.unique().tolist() or [0]  # a worker may have no classifier of a batch
    if len(kinds) == 1:
        return forward(data.space, theta, x, ACTIVATIONS[kinds[0]])
    out = theta.new_zeros(*x.shape[:2], data.space.shapes[data.space.names[-1]][0])
    for kind in kinds:
        mine = units == kind
        out[mine] = forward(data.space, theta[mine], x[mine], ACTIVATIONS[kind])
    return out


class FineTune(Unchanged):
    """Every classifier trained further on the images that models learn from: no learned change.

    Args:
        settings: steps, rate, images per step.
        data: the classifiers.
    """

    def __init__(self, settings: FineTuneNetwork, data: TaskData) -> None:
        super().__init__(data.space)
        self.settings = settings
        # of the order of images; drawn here, so that it depends on the seed of the model
        self.order: Tensor
        self.register_buffer("order", torch.randint(1 << 31, ()))

    @torch.enable_grad()
    def tuned(
        self, task: Adapt, data: TaskData, theta: Tensor, target: Tensor, member: Tensor
    ) -> Tensor:
        """Weights ``[m, size]`` after the steps of Adam, each classifier on its own.

        The images of a classifier are drawn for its member number alone, not for the company in
        which it is evaluated.
        """
        weights = theta.clone().requires_grad_()
        adam = torch.optim.Adam([weights], self.settings.learning_rate)
        count = 2 * data.context.pixels["train"].shape[1]
        shape = (self.settings.steps, self.settings.batch_size)
        drawn = [
            np.random.default_rng([int(self.order), m]).integers(count, size=shape)
            for m in member.tolist()
        ]
        steps = np.reshape(drawn, (len(member), *shape)).swapaxes(0, 1).astype(np.int64)
        for images in torch.from_numpy(steps).to(target.device):
            x, y = task.pairs(data, "train", target, images)
            logits = answered(data, weights, x, target[:, 2])
            loss = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
            (weights.grad,) = torch.autograd.grad(loss, weights)
            if not torch.isfinite(loss):
                raise TrainingError("fine-tuning diverged; lower network.learning_rate")
            adam.step()
        return weights.detach()
