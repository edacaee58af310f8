"""Symmetries of weights, drawn at random: new weights of the same function.

A tensor that *writes* a hidden axis comes in to its neurons, one that *reads* it goes out (roles:
`dws.roles`). Multiplying what comes in to a neuron by s multiplies its argument z; what that does
to the neuron's value h goes into what goes out:

    sine, tanh    s = -1               h -> -h               (odd)
    sine          w0 b += k pi         h -> (-1)^k h         (half a period)
    ReLU          s > 0                h -> s h              (positively homogeneous)

After a norm it is its scale and shift that come in: its own input it divides by its size, so that
the weights before it and the running statistics stay.

All functions take ``theta`` of shape ``[m, size]`` and give new weights of that shape, dtype and
device. The function of each network stays as it is, up to rounding. Which axes have such a symmetry
depends on the activation. Of a space with its module each axis is tried on the module, and left
alone where the outputs change; where none holds the function refuses. Of a space without one only
weights and biases are changed, and the caller answers for the activation; tensors of any other kind
are refused. Hidden axes that nothing comes in to, or nothing goes out of, are inputs or outputs:
they are permuted, and else left alone. Canonical forms under the same symmetries: `dws.canonical`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dws.group import act, random_permutation
from dws.neurons import holding
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
        space: of the weights; without its module, no maximum may be taken between its layers.
        theta: ``[m, size]``.
        generator: source of randomness.
        share: probability of each neuron to be negated.

    Raises:
        ValueError: a share outside 0..1, or a space of which it is not known to hold (names the
            tensor and its kind).

    Source: Chen, Lu and Hecht-Nielsen 1993, the symmetries of tanh networks.
    """
    check_share(share)
    x = split_weights(space, theta)
    for layer in holding(space, "signs"):
        drawn = layer.shaped(draw(torch.rand, theta, layer.count, generator))
        sign = 1 - 2 * (drawn < share).to(theta)
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
    for layer in holding(space, "phases", w0):
        uniform = layer.shaped(draw(torch.rand, theta, layer.count, generator))
        k = ((2 * bound + 1) * uniform).floor().to(theta) - bound
        x = layer.shifted(x, k, half_period)
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
        ValueError: a negative std, or a space of which it is not known to hold (names the
            tensor and its kind).

    Source: Neyshabur, Salakhutdinov and Srebro 2015 (arXiv 1506.02617).
    """
    check_std(std)
    x = split_weights(space, theta)
    # so that neither a factor nor its inverse overflows
    most = math.log(torch.finfo(theta.dtype).max) - 1
    for layer in holding(space, "scales"):
        normal = layer.shaped(draw(torch.randn, theta, layer.count, generator))
        factor = (std * normal).clamp(-most, most).exp().to(theta)
        x = layer.scaled(x, factor, 1 / factor)
    return space.flatten(x)


def split_weights(space: WeightSpace, theta: Tensor) -> Features:
    """``space.split`` of plain weights.

    Raises:
        ValueError: another shape than ``[m, size]``.
    """
    if theta.ndim != 2:
        raise ValueError(f"expected weights [m, {space.size}], got {list(theta.shape)}")
    return space.split(theta)


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
