"""How a zoo of classifiers is made: what a config says, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.draws import Draw, extremes, tupled

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
OPTIMIZERS = ("adam", "sgd", "rmsprop")
InputShape = tuple[int, int, int]
"""Channels, height and width of the images."""


class Scaled(nn.Module):
    """Values of [0, 1] scaled to others: ``low + (high - low) x``."""

    def __init__(self, pixels: tuple[float, float]) -> None:
        super().__init__()
        self.low, self.high = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return self.low + (self.high - self.low) * x


@dataclass(frozen=True)
class Mlp:
    """Linear layers over the pixels of an image, ``[channels, height, width]`` flattened.

    Attributes:
        hidden: widths of the hidden layers.
        pixels: what black and white are to the network; images are scaled from [0, 1] to these.
    """

    hidden: tuple[int, ...]
    pixels: tuple[float, float] = (0.0, 1.0)
    kind: Literal["mlp"] = "mlp"

    def __post_init__(self) -> None:
        _pixels(self.pixels)
        _sizes("hidden", self.hidden)

    def module(
        self, image: InputShape, classes: int, activation: str = "relu", dropout: float = 0.0
    ) -> nn.Sequential:
        """The same network as torch has it: loads a row of the zoo with `vector_to_parameters`."""
        layers: list[nn.Module] = [Scaled(self.pixels), nn.Flatten()]
        for fan_in, width in pairwise((prod(image), *self.hidden)):
            layers += [nn.Linear(fan_in, width), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        return nn.Sequential(*layers, nn.Linear(self.hidden[-1], classes))


@dataclass(frozen=True)
class Cnn:
    """Convolutions, the mean over the remaining pixels of each channel, one linear layer.

    With channels 16, 16, 16 and gray images: the 4,970 weights of Unterthiner et al. 2020
    (arXiv 2002.11448, section 3).

    Attributes:
        channels: of each convolution.
        kernel: side of the square kernels, odd; images are padded by half of it with zeros.
        stride: of every convolution.
        pixels: what black and white are to the network; images are scaled from [0, 1] to these.
    """

    channels: tuple[int, ...]
    kernel: int = 3
    stride: int = 2
    pixels: tuple[float, float] = (0.0, 1.0)
    kind: Literal["cnn"] = "cnn"

    def __post_init__(self) -> None:
        _pixels(self.pixels)
        _sizes("channels", self.channels)
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel: got {self.kernel}, expected an odd number, 1 or more")
        if self.stride < 1:
            raise ConfigError(f"stride: got {self.stride}, expected 1 or more")

    def module(
        self, image: InputShape, classes: int, activation: str = "relu", dropout: float = 0.0
    ) -> nn.Sequential:
        """The same network as torch has it: loads a row of the zoo with `vector_to_parameters`."""
        layers: list[nn.Module] = [Scaled(self.pixels)]
        for c_in, c_out in pairwise((image[0], *self.channels)):
            conv = nn.Conv2d(c_in, c_out, self.kernel, self.stride, self.kernel // 2)
            layers += [conv, ACTIVATIONS[activation](), nn.Dropout2d(dropout)]
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, *pool, nn.Linear(self.channels[-1], classes))


Architecture = Mlp | Cnn


@dataclass(frozen=True)
class Classifier:
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
        classes: None for all of the source, or ``"pairs"``: each run tells two classes apart, all
            pairs equally often.
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
    def read(cls, plain: dict[str, Any], runs: int) -> Classifier:
        """From plain data, as in ``zoo.json``.

        Args:
            plain: the fields, without how many runs there are.
            runs: how many.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it describes no classifiers.
        """
        settings = {key: tupled(value) for key, value in plain.items()}
        settings |= {
            key: Draw.read(settings[key])
            for key in HYPERPARAMETERS
            if isinstance(settings[key], dict)
        }
        network = {key: tupled(value) for key, value in plain["network"].items()}
        built = NETWORKS[network["kind"]](**network)
        return cls(**{**settings, "runs": runs, "network": built})

    def space(self, image: InputShape, classes: int) -> WeightSpace:
        """The weight space of the networks.

        Args:
            image: channels, height and width.
            classes: of the source.
        """
        if isinstance(self.network, Mlp):
            return WeightSpace.mlp((prod(image), *self.network.hidden, self.outputs(classes)))
        with torch.device("meta"):
            module = self.network.module(image, self.outputs(classes))
        return WeightSpace.from_module(module)

    def outputs(self, classes: int) -> int:
        """Classes that one network tells apart, of so many of the source."""
        return classes if self.classes is None else 2


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
NETWORKS: dict[str, Callable[..., Architecture]] = {"mlp": Mlp, "cnn": Cnn}


def _within(values: Iterable[float], low: float, high: float) -> bool:
    return all(low <= v <= high for v in values)


def _sizes(key: str, sizes: tuple[int, ...]) -> None:
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"{key}: got {list(sizes)}, expected one or more, each 1 or more")


def _pixels(pixels: tuple[float, float]) -> None:
    if not (all(map(isfinite, pixels)) and pixels[0] < pixels[1]):
        raise ConfigError(
            f"pixels: got {list(pixels)}, expected two numbers, the smaller first, such as [-1, 1]"
        )
