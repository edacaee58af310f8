"""Augmentations that change what the networks compute: noise, sparsity, moved inputs, mixtures.

All functions take ``theta`` of shape ``[m, size]`` and give new weights of that shape, dtype and
device. What keeps the function is in `dws.symmetries`. Random parameters of moved inputs are the
caller's: the functions are exact, so that a test or an equivariant target can use the same ones.

Source: the augmentations of Navon et al. 2023, appendix, and Shamsian et al. 2024
(arXiv 2402.04081).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dws.space import Features, WeightSpace
from dws.symmetries import check_share, check_std, draw, split_weights


def add_noise(
    space: WeightSpace, theta: Tensor, std: float, generator: torch.Generator | None = None
) -> Tensor:
    """Gaussian noise on every weight. Does NOT keep the function.

    ``w + std sigma g``, g standard normal, where sigma is the standard deviation of the entries of
    w's tensor in its own network: networks do not depend on what else is in the batch. A tensor of
    one entry has sigma 0 and stays.

    Args:
        space: of the weights.
        theta: ``[m, size]``.
        std: of the noise, relative to each tensor; 0 or more.
        generator: source of randomness.

    Raises:
        ValueError: a negative std.
    """
    check_std(std)
    x = split_weights(space, theta)
    noise = space.split(draw(torch.randn, theta, space.size, generator).to(theta.dtype))
    noisy: Features = {}
    for name, w in x.items():
        sigma = w.flatten(1).std(1, correction=0).reshape(-1, *[1] * (w.ndim - 1))
        noisy[name] = w + std * sigma * noise[name]
        if space.kinds.get(name) == "variance":  # a negative one has no root
            noisy[name] = noisy[name].abs()
    return space.flatten(noisy)


def drop_weights(
    space: WeightSpace, theta: Tensor, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """Each weight set to zero with some probability. Does NOT keep the function.

    Args:
        space: of the weights.
        theta: ``[m, size]``.
        share: the probability, 0 to 1; the other weights stay as they are.
        generator: source of randomness.

    Raises:
        ValueError: a share outside 0..1.
    """
    check_share(share)
    split_weights(space, theta)  # refuses another shape
    return torch.where(draw(torch.rand, theta, space.size, generator) < share, 0.0, theta)


def drop_quantile(space: WeightSpace, theta: Tensor, share: float) -> Tensor:
    """The smallest weights of each tensor set to zero. Does NOT keep the function.

    Args:
        space: of the weights.
        theta: ``[m, size]``.
        share: of each tensor of each network, by absolute value, rounded to whole weights.

    Raises:
        ValueError: a share outside 0..1.
    """
    check_share(share)
    kept: Features = {}
    for name, w in split_weights(space, theta).items():
        flat = w.flatten(1)
        smallest = flat.abs().argsort(dim=1, stable=True)[:, : round(share * flat.shape[1])]
        kept[name] = flat.scatter(1, smallest, 0.0).reshape(w.shape)
    return space.flatten(kept)


def rotate(space: WeightSpace, theta: Tensor, angle: Tensor | float) -> Tensor:
    """Networks over turned inputs: ``f`` becomes ``x -> f(R x)``, ``W1`` becomes ``W1 R``.

    ``R = [[cos, -sin], [sin, cos]]`` about the origin: where a network draws an image, the image
    turns by ``-angle``.

    Args:
        space: of MLPs with 2 inputs.
        theta: ``[m, size]``.
        angle: in radians, ``[m]`` or one for all.

    Raises:
        ValueError: another space or shape.
    """
    if _inputs(space) != 2:
        raise ValueError(f"rotations need 2 inputs, {space} has {_inputs(space)}")
    a = _each(theta, angle)
    rows = [torch.stack([a.cos(), -a.sin()], -1), torch.stack([a.sin(), a.cos()], -1)]
    x = split_weights(space, theta)
    x["W1"] = (x["W1"].squeeze(-1) @ torch.stack(rows, -2)).unsqueeze(-1)
    return space.flatten(x)


def translate(space: WeightSpace, theta: Tensor, shift: Tensor | float) -> Tensor:
    """Networks over shifted inputs: ``f`` becomes ``x -> f(x + t)``, ``b1`` becomes ``b1 + W1 t``.

    Args:
        space: of MLPs with biases.
        theta: ``[m, size]``.
        shift: t in input units, ``[m, d_0]``; ``[d_0]`` or a number for all networks.

    Raises:
        ValueError: another space or shape.
    """
    inputs = _inputs(space)
    if "b1" not in space.names:
        raise ValueError(f"{space} has no bias b1; a shift of the inputs goes into it")
    x = split_weights(space, theta)
    step = x["W1"].squeeze(-1) @ _each(theta, shift, inputs).unsqueeze(-1)
    x["b1"] = x["b1"] + step
    return space.flatten(x)


def zoom(space: WeightSpace, theta: Tensor, factor: Tensor | float) -> Tensor:
    """Networks over scaled inputs: ``f`` becomes ``x -> f(s x)``, ``W1`` becomes ``s W1``.

    Args:
        space: of MLPs.
        theta: ``[m, size]``.
        factor: s, ``[m]`` or one for all; above 1 an image that a network draws shrinks.

    Raises:
        ValueError: another space or shape.
    """
    _inputs(space)
    x = split_weights(space, theta)
    x["W1"] = x["W1"] * _each(theta, factor).reshape(-1, 1, 1, 1)
    return space.flatten(x)


def mixup(theta: Tensor, other: Tensor, share: Tensor | float) -> Tensor:
    """``share theta + (1 - share) other``. Does NOT keep the function, nor give a mean of the two.

    The mean of weights means more where their neurons correspond: align ``other`` to ``theta``
    first (`dws.align.align`), which keeps what it computes.

    Args:
        theta: ``[m, size]``.
        other: ``[m, size]``.
        share: 0 to 1, ``[m]`` or one for all.

    Raises:
        ValueError: different shapes.

    Source: Zhang et al. 2018; on weights, Shamsian et al. 2024 (arXiv 2402.04081).
    """
    if theta.ndim != 2 or theta.shape != other.shape:
        raise ValueError(
            f"expected two times the same [m, size], got {list(theta.shape)} and "
            f"{list(other.shape)}"
        )
    s = _each(theta, share).unsqueeze(1)
    return s * theta + (1 - s) * other


def _inputs(space: WeightSpace) -> int:
    """Number of inputs d_0 of an MLP."""
    return space.widths[0]


def _each(theta: Tensor, value: Tensor | float, *shape: int) -> Tensor:
    """A value per network, ``[m, *shape]``, from a number, ``[*shape]`` or as many."""
    wanted = (len(theta), *shape)
    given = torch.as_tensor(value, dtype=theta.dtype, device=theta.device)
    if given.ndim and given.shape not in (wanted, shape):
        one = f"a number, {list(shape)}" if shape else "a number"
        raise ValueError(f"expected {one} or {list(wanted)}, got {list(given.shape)}")
    return given.expand(wanted)
