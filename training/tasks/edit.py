"""Images changed by changing the weights of the networks that draw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from training.checks import check_positive
from training.models import Network
from training.models.editors import build_editor
from training.tasks.base import Answers, Columns, Targets, Task, TaskData
from training.tasks.metrics import Metric, Output
from zoo_gen import ConfigError, Source, ZooReader
from zoo_gen.recipe.maker import Maker

AT_ONCE = 64  # networks drawn together


@dataclass(frozen=True)
class Drawn:
    """What networks draw.

    Attributes:
        images: of the source, uint8 (255: 1.0) or float32, ``[n, height, width, colours]``.
        points: what networks take at the pixels, float32 ``[1, height * width, n_0]``.
    """

    images: Tensor
    points: Tensor


@dataclass(frozen=True)
class Edit(Task):
    """Change the weights so that the network draws its image edited (Zhou et al. 2023, NFN, 4.3).

    The target is the edit of the true image, not of what the network draws of it.

    Attributes:
        edit: ``"dilate"`` or ``"erode"``: each pixel the greatest or smallest of a square around
            it; ``"contrast"``: the distance from one half times ``amount``, cut to [0, 1].
        size: side of the square, odd.
        amount: see ``edit``.
    """

    kind: Literal["edit"] = "edit"
    edit: Literal["dilate", "erode", "contrast"] = "dilate"
    size: int = 3
    amount: float = 2.0
    takes_signals: ClassVar[bool] = True
    refused: ClassVar[tuple[str, ...]] = (
        "rotation",
        "translation",
        "zoom",
        "weight_dropout",
        "quantile_dropout",
        "mixup",
    )

    def __post_init__(self) -> None:
        check_positive("amount", self.amount)
        if self.size < 1 or self.size % 2 == 0:
            raise ConfigError(f"size: got {self.size}, expected an odd number, 1 or more")

    @property
    def needs(self) -> tuple[str, ...]:
        """Which image each network draws."""
        return ("signal",)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Mean squared error of what the changed networks draw, over pixels in [0, 1]."""
        return (Metric("mse", "MSE of pixels", greater=False, digits=5, best=0.0),)

    def targets(self, where: str, columns: Columns, rows: dict[str, Tensor]) -> Targets:
        """Index of each network's image in the source, int64 ``[n]``."""
        return Targets(torch.from_numpy(columns["signal"].astype(np.int64)))

    def check_fit(self, fit: Maker | None) -> None:
        """Refuse all but networks that draw pictures."""
        super().check_fit(fit)
        if fit is None or fit.coordinates != 2:
            raise ConfigError(
                "task: edit changes what networks draw, but these are "
                f"{'unknown' if fit is None else fit.members_are}; use a zoo of images, such as "
                "mnist"
            )

    def context(self, zoo: ZooReader, columns: Columns, source: Source | None) -> Drawn:
        """The images of the source."""
        self.check_fit(zoo.maker if source is not None else None)
        assert source is not None
        signals = source.load()
        if signals.shape is None:
            raise ConfigError(f"task: edit changes images; the source {source.kind} gives none")
        images = torch.from_numpy(signals.values).unflatten(1, signals.shape)
        points = torch.from_numpy(zoo.forward_pass.inputs(signals.coordinates))
        return Drawn(images, points.unsqueeze(0))

    def output(self, data: TaskData) -> Output:
        """Changed weights of the same network."""
        return Output("weights", data.space.size)

    def build(self, network: Network, data: TaskData) -> nn.Module:
        """A model that begins by changing nothing."""
        return build_editor(network, data.space, data.forward_pass)

    def loss(self, model: nn.Module, data: TaskData, *batch: Tensor) -> Tensor:
        """Mean squared error over the pixels of each network's image."""
        theta, signal = batch
        return self.errors(data, model(theta), signal).sum()

    def errors(self, data: TaskData, theta: Tensor, signal: Tensor) -> Tensor:
        """Mean squared error of each network's drawing ``[m]``."""
        wanted = self.edited(self.images(data, signal)).to(theta)
        return (self.drawn(data, theta) - wanted).square().flatten(1).mean(1)

    def images(self, data: TaskData, signal: Tensor) -> Tensor:
        """True images, float32 ``[m, height, width, colours]`` in [0, 1]."""
        known: Tensor = data.context.images
        images: Tensor = known[signal.to(known.device)]
        if images.dtype == torch.uint8:
            return torch.div(images, 255)
        return images

    def drawn(self, data: TaskData, theta: Tensor) -> Tensor:
        """What networks draw: ``[m, height, width, colours]``."""
        drawn: Drawn = data.context
        points = drawn.points.to(theta)
        parts = [
            data.forward_pass.evaluate(data.space, some, points) for some in theta.split(AT_ONCE)
        ]
        return torch.cat(parts).reshape(len(theta), *drawn.images.shape[1:])

    def edited(self, images: Tensor) -> Tensor:
        """``[m, height, width, colours]`` in [0, 1] -> the same."""
        if self.edit == "contrast":
            return (0.5 + self.amount * (images - 0.5)).clamp(0, 1)
        sign = 1 if self.edit == "dilate" else -1
        planes = sign * images.movedim(-1, 1)  # beyond the edge nothing is greater
        return sign * max_pool2d(planes, self.size, 1, self.size // 2).movedim(1, -1)

    def answers(
        self, model: nn.Module, data: TaskData, split: str, rows: Tensor, device: str
    ) -> Tensor:
        """Error of each changed network's drawing ``[m]``."""
        changed = cast(Tensor, model(data.theta[rows].to(device)))
        return self.errors(data, changed, data.target[rows].to(device))

    def scores(self, data: TaskData, answers: Answers, split: str) -> dict[str, float]:
        """The mean error, as loss and as metric."""
        mean = answers[split].double().mean().item()
        return {"loss": mean, "mse": mean}

    def predictions(self, data: TaskData, answers: Answers, split: str) -> Tensor:
        """Error of each network's drawing ``[n]``."""
        return answers[split]

    def shown(self, data: TaskData, model: nn.Module, rows: Tensor) -> dict[str, Any]:
        """Pictures of some networks: what is drawn, what is wanted, what the changed one draws."""
        theta, signal = data.theta[rows], data.target[rows]
        with torch.no_grad():
            return {
                "drawn": self.drawn(data, theta),
                "wanted": self.edited(self.images(data, signal)),
                "changed": self.drawn(data, model(theta)),
            }
