"""What classifiers are: multilayer perceptrons and convolutional networks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, prod
from typing import Literal

import torch
from torch import Tensor, nn

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.sources.labelled import InputShape

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


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

    def space(self, image: InputShape, classes: int) -> WeightSpace:
        """The weight space of these networks."""
        return WeightSpace.mlp((prod(image), *self.hidden, classes))

    def torch_shapes(self, space: WeightSpace) -> None:
        """Those of the space."""
        return


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

    def space(self, image: InputShape, classes: int) -> WeightSpace:
        """The weight space of these networks."""
        with torch.device("meta"):
            return WeightSpace.from_module(self.module(image, classes))

    def torch_shapes(self, space: WeightSpace) -> dict[str, tuple[int, ...]]:
        """Tensor -> its shape as torch has it; the taps of a kernel are one axis of the space."""
        sides = (self.kernel, self.kernel)
        return {n: (*s[:2], *sides) if len(s) == 3 else s for n, s in space.shapes.items()}


Architecture = Mlp | Cnn


def _sizes(key: str, sizes: tuple[int, ...]) -> None:
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"{key}: got {list(sizes)}, expected one or more, each 1 or more")


def _pixels(pixels: tuple[float, float]) -> None:
    if not (all(map(isfinite, pixels)) and pixels[0] < pixels[1]):
        raise ConfigError(
            f"pixels: got {list(pixels)}, expected two numbers, the smaller first, such as [-1, 1]"
        )
