"""Symmetries of weights, drawn at random: new weights of the same function.

A tensor's first axis is the output axis of its layer. It comes *in* to the hidden axis that it
begins with and goes *out* of the other hidden axes that it has. Multiplying what comes in to a
neuron by s multiplies its argument z; what that does to the neuron's value h goes into what goes
out:

    sine, tanh    s = -1               h -> -h               (odd)
    sine          w0 b += k pi         h -> (-1)^k h         (half a period)
    ReLU          s > 0                h -> s h              (positively homogeneous)

All functions take ``theta`` of shape ``[m, size]`` and give new weights of that shape, dtype and
device. The function of each network stays as it is, up to rounding. Hidden axes that nothing comes
in to, or nothing goes out of, are inputs or outputs: they are permuted, and else left alone.
Canonical forms under the same symmetries: `dws.canonical`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dws.group import act, random_permutation
from dws.space import Features, WeightSpace


def permute(space: WeightSpace, theta: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The hidden neurons of each network in a random order of its own; any activation.

    Args:
        space: of the weights.
        theta: ``[m, size]``.
        generator: source of randomness.
    """
    x = split_weights(space, theta)
    return space.flatten(act(space, random_permutation(space, generator, len(theta)), x))


def flip_signs(
    space: WeightSpace,
    theta: Tensor,
    generator: torch.Generator | None = None,
    share: float = 0.5,
) -> Tensor:
    """Random hidden neurons negated, ``f(-z) = -f(z)``: for odd activations (sine, tanh).

    Args:
        space: of the weights; no maximum may be taken between its layers.
        theta: ``[m, size]``.
        generator: source of randomness.
        share: probability of each neuron to be negated.

    Raises:
        ValueError: a share outside 0..1.

    Source: Chen, Lu and Hecht-Nielsen 1993, the symmetries of tanh networks.
    """
    check_share(share)
    x = split_weights(space, theta)
    for layer in layers(space):
        sign = 1 - 2 * (draw(torch.rand, theta, layer.size, generator) < share).to(theta)
        x = layer.scaled(x, sign, sign)
    return space.flatten(x)


def shift_phases(
    space: WeightSpace,
    theta: Tensor,
    w0: float = 30.0,
    generator: torch.Generator | None = None,
    bound: int = 1,
) -> Tensor:
    """Half periods added to the phases of sine units, ``sin(z + k pi) = (-1)^k sin z``.

    The bias grows by ``k pi / w0`` and what goes out is multiplied by ``(-1)^k``, with k uniform in
    -bound .. bound for each neuron. Large bounds make the biases uninformative: Shamsian et al.
    2024 (arXiv 2402.04081) found that unbounded shifts destroy accuracy and bounded ones help.

    Args:
        space: of the weights; every hidden axis has one weight tensor and one bias coming in.
        theta: ``[m, size]``.
        w0: frequency of the units, ``sin(w0 (W x + b))``.
        generator: source of randomness.
        bound: largest number of half periods, 0 or more.

    Raises:
        ValueError: a bound that is negative or not whole, a w0 that is not positive, or another
            space.
    """
    if bound < 0 or bound % 1:  # half of a half period is another function
        raise ValueError(f"bound: got {bound}, expected a whole number of half periods, 0 or more")
    half_period = half_period_of(w0)
    x = split_weights(space, theta)
    for layer in layers(space):
        uniform = draw(torch.rand, theta, layer.size, generator)
        k = ((2 * bound + 1) * uniform).floor().to(theta) - bound
        x = layer.scaled(x, None, parity(k))
        x[layer.bias] = x[layer.bias] + (k * half_period).unsqueeze(-1)
    return space.flatten(x)


def rescale(
    space: WeightSpace,
    theta: Tensor,
    generator: torch.Generator | None = None,
    std: float = 0.5,
) -> Tensor:
    """Hidden neurons scaled by ``exp(std g)``, g standard normal: for ReLU, ``f(s z) = s f(z)``.

    Args:
        space: of the weights.
        theta: ``[m, size]``.
        generator: source of randomness.
        std: standard deviation of the logarithm of the factors, 0 or more.

    Raises:
        ValueError: a negative std.

    Source: Neyshabur, Salakhutdinov and Srebro 2015 (arXiv 1506.02617).
    """
    check_std(std)
    x = split_weights(space, theta)
    for layer in layers(space):
        factor = (std * draw(torch.randn, theta, layer.size, generator)).exp().to(theta)
        x = layer.scaled(x, factor, 1 / factor)
    return space.flatten(x)


@dataclass(frozen=True)
class Layer:
    """The neurons of one hidden axis.

    Attributes:
        axis: its name.
        size: number of neurons n.
        incoming: name of each tensor that comes in -> its axes, this one first.
        outgoing: name of each tensor that goes out -> its axes.
    """

    axis: str
    size: int
    incoming: dict[str, tuple[str, ...]]
    outgoing: dict[str, tuple[str, ...]]

    @property
    def weights(self) -> list[str]:
        """Names of the incoming tensors that have further axes: at most one.

        Raises:
            ValueError: there are more, as where a connection skips layers.
        """
        weights = [name for name, axes in self.incoming.items() if len(axes) > 1]
        if len(weights) > 1:
            raise ValueError(
                f"axis {self.axis} is the output of {len(weights)} layers ({', '.join(weights)}), "
                "as where a connection skips layers; its neurons have no such symmetry one by one"
            )
        return weights

    @property
    def bias(self) -> str:
        """Name of the one bias of the one layer.

        Raises:
            ValueError: there are several layers, or not one bias.
        """
        biases = [name for name in self.incoming if name not in self.weights]
        if len(biases) != 1:
            raise ValueError(
                f"axis {self.axis} has {len(biases)} biases, expected one: it holds the phase of "
                "sine units"
            )
        return biases[0]

    def scaled(self, x: Features, incoming: Tensor | None, outgoing: Tensor) -> Features:
        """The features, with what comes in and goes out multiplied by ``[m, n]`` each."""
        x = dict(x)
        for tensors, factor in ((self.incoming, incoming), (self.outgoing, outgoing)):
            if factor is not None:
                for name, axes in tensors.items():
                    shape = [1] * x[name].ndim
                    shape[0], shape[1 + axes.index(self.axis)] = factor.shape
                    x[name] = x[name] * factor.reshape(shape)
        return x


def layers(space: WeightSpace) -> tuple[Layer, ...]:
    """The hidden axes that are neither input nor output, with what comes in and goes out."""
    found = (
        Layer(
            axis,
            space.sizes[axis],
            {name: axes for name, axes in space.axes.items() if axes[0] == axis},
            {name: axes for name, axes in space.axes.items() if axis in axes[1:]},
        )
        for axis in space.hidden
    )
    return tuple(layer for layer in found if layer.incoming and layer.outgoing)


def split_weights(space: WeightSpace, theta: Tensor) -> Features:
    """``space.split`` of plain weights.

    Raises:
        ValueError: another shape than ``[m, size]``.
    """
    if theta.ndim != 2:
        raise ValueError(f"expected weights [m, {space.size}], got {list(theta.shape)}")
    return space.split(theta)


def parity(k: Tensor) -> Tensor:
    """``(-1)^k`` of whole numbers."""
    return 1 - 2 * torch.remainder(k, 2)


def half_period_of(w0: float) -> float:
    """What a bias grows by while ``w0 b`` grows by pi.

    Raises:
        ValueError: a w0 that is not positive and finite.
    """
    if not 0 < w0 < math.inf:
        raise ValueError(f"w0: got {w0}, expected a positive number")
    return math.pi / w0


def draw(
    distribution: Callable[..., Tensor], theta: Tensor, n: int, generator: torch.Generator | None
) -> Tensor:
    """Numbers ``[m, n]`` from ``torch.rand`` or ``torch.randn``: the same for every dtype of theta.

    They are drawn in double precision where the generator lives, and moved to theta's device.
    """
    device = theta.device if generator is None else generator.device
    drawn = distribution(len(theta), n, generator=generator, device=device, dtype=torch.float64)
    return drawn.to(theta.device)


def check_share(share: float) -> None:
    """Raise ``ValueError`` unless this is a probability."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: got {share}, expected 0 to 1")


def check_std(std: float) -> None:
    """Raise ``ValueError`` unless this is a standard deviation."""
    if not 0 <= std < math.inf:
        raise ValueError(f"std: got {std}, expected 0 or more")
