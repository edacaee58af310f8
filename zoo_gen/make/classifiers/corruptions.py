"""Corruptions of images at five severities, after Hendrycks & Dietterich 2019 (arXiv 1903.12261).

The kinds are theirs as far as small images have them; the numbers are this table's own, written
for images of about 32 pixels. Lengths are shares of the image's width, so that images of another
size suffer alike.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

from zoo_gen.errors import ZooError

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | Tensor
Pixels = npt.NDArray[np.float32]

CORRUPTIONS: dict[str, tuple[float, float, float, float, float]] = {
    "gaussian-noise": (0.04, 0.08, 0.12, 0.18, 0.26),  # standard deviation that is added
    "shot-noise": (200, 80, 40, 20, 10),  # photons of a white pixel, counted
    "impulse-noise": (0.01, 0.03, 0.06, 0.1, 0.17),  # share of pixels set to black or white
    "gaussian-blur": (0.015, 0.025, 0.035, 0.05, 0.07),  # standard deviation, of the width
    "motion-blur": (0.08, 0.12, 0.18, 0.25, 0.35),  # length of the path, of the width
    "contrast": (0.7, 0.5, 0.35, 0.22, 0.12),  # left of the distance from the image's mean
    "brightness": (0.08, 0.16, 0.25, 0.35, 0.45),  # added, with its sign drawn for each image
    "fog": (0.15, 0.3, 0.45, 0.6, 0.75),  # share of a white, uneven veil
    "pixelate": (0.75, 0.6, 0.45, 0.33, 0.25),  # of the resolution that is left
    "rotation": (8, 16, 25, 35, 50),  # degrees, with their sign drawn for each image
    "translation": (0.05, 0.1, 0.15, 0.2, 0.28),  # of the width, in a drawn direction
}
"""Name -> strength at severity 1, 2, 3, 4, 5."""


def corrupt(images: Images, name: str, severity: int, seed: int = 0) -> Pixels:
    """The same images, spoiled.

    Args:
        images: ``[n, channels, height, width]``, uint8 (255 stands for 1.0) or floating point in
            [0, 1].
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of what is drawn for each image: image i has the same noise or direction at every
            severity and whatever the other images are.

    Returns:
        float32 ``[n, channels, height, width]`` in [0, 1].

    Raises:
        ZooError: another name, severity or shape.
    """
    if name not in CORRUPTIONS:
        raise ZooError(f"corruption {name!r}: expected one of {', '.join(CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise ZooError(f"severity {severity!r} of {name}: expected 1, 2, 3, 4 or 5")
    x = np.asarray(images)
    if x.ndim != 4:
        raise ZooError(f"images {list(x.shape)}: expected [n, channels, height, width]")
    x = x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)
    strength = CORRUPTIONS[name][severity - 1]
    spoiled = [
        KINDS[name](x[i], strength, np.random.default_rng([seed, i, *name.encode()]))
        for i in range(len(x))
    ]
    out = np.stack(spoiled) if spoiled else x
    return np.clip(out, 0, 1).astype(np.float32)


def _gaussian_noise(x: Pixels, sigma: float, draws: np.random.Generator) -> Any:
    return x + sigma * draws.standard_normal(x.shape, np.float32)


def _shot_noise(x: Pixels, photons: float, draws: np.random.Generator) -> Any:
    return draws.poisson(np.clip(x, 0, 1) * photons) / photons


def _impulse_noise(x: Pixels, share: float, draws: np.random.Generator) -> Any:
    hit = draws.random(x.shape[1:])
    return np.where(hit < share, (hit < share / 2).astype(np.float32), x)


def _gaussian_blur(x: Pixels, sigma: float, draws: np.random.Generator) -> Any:
    sigma *= x.shape[2]
    reach = ceil(3 * sigma)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    return _filtered(x, line[:, None] * line[None, :])


def _motion_blur(x: Pixels, length: float, draws: np.random.Generator) -> Any:
    """The mean along a path in a drawn direction."""
    length *= x.shape[2]
    angle, reach = draws.uniform(0, np.pi), ceil(length / 2)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    for t in np.linspace(-length / 2, length / 2, 8 * reach + 1):
        # each point of the path is shared among the four pixels around it
        row, column = reach + t * sin(angle), reach + t * cos(angle)
        for i in (int(row), int(row) + 1):
            for j in (int(column), int(column) + 1):
                share = (1 - abs(row - i)) * (1 - abs(column - j))
                if share > 0:
                    kernel[min(i, 2 * reach), min(j, 2 * reach)] += share
    return _filtered(x, kernel / kernel.sum())


def _contrast(x: Pixels, left: float, draws: np.random.Generator) -> Any:
    mean = x.mean((1, 2), keepdims=True)
    return mean + left * (x - mean)


def _brightness(x: Pixels, added: float, draws: np.random.Generator) -> Any:
    return x + added * draws.choice([-1, 1])


def _fog(x: Pixels, share: float, draws: np.random.Generator) -> Any:
    """A veil with clouds of a half, a quarter and an eighth of the width."""
    veil = np.zeros(x.shape[1:], np.float32)
    for cells in (2, 4, 8):
        clouds = torch.from_numpy(draws.random((1, 1, cells, cells), np.float32))
        size = (x.shape[1], x.shape[2])
        smooth = interpolate(clouds, size, mode="bilinear", align_corners=False)
        veil += smooth[0, 0].numpy() / cells
    veil = share * (0.6 + 0.8 * (veil - veil.min()) / max(np.ptp(veil), 1e-6))
    veil = np.clip(veil, 0, 1)
    return x * (1 - veil) + veil


def _pixelate(x: Pixels, left: float, draws: np.random.Generator) -> Any:
    size = (x.shape[1], x.shape[2])
    few = [max(1, round(left * n)) for n in size]
    small = interpolate(torch.from_numpy(x)[None], few, mode="area")
    return interpolate(small, size, mode="nearest-exact")[0].numpy()


def _rotation(x: Pixels, degrees: float, draws: np.random.Generator) -> Any:
    angle = radians(degrees) * draws.choice([-1, 1])
    ratio = x.shape[1] / x.shape[2]
    turn = [[cos(angle), -sin(angle) * ratio, 0], [sin(angle) / ratio, cos(angle), 0]]
    return _moved(x, turn)


def _translation(x: Pixels, distance: float, draws: np.random.Generator) -> Any:
    angle = draws.uniform(0, 2 * np.pi)
    ratio = x.shape[2] / x.shape[1]
    shift = 2 * distance * cos(angle), 2 * distance * sin(angle) * ratio
    return _moved(x, [[1, 0, shift[0]], [0, 1, shift[1]]])


def _filtered(x: Pixels, kernel: Tensor) -> Any:
    """Each channel convolved with a kernel; beyond its edge an image goes on as it is there."""
    margin = kernel.shape[0] // 2
    channels = pad(torch.from_numpy(x)[:, None], [margin] * 4, mode="replicate")
    return conv2d(channels, kernel.float()[None, None])[:, 0].numpy()


def _moved(x: Pixels, matrix: list[list[float]]) -> Any:
    """An affine map; beyond its edge an image goes on as it is there."""
    grid = affine_grid(torch.tensor([matrix], dtype=torch.float32), [1, *x.shape], False)
    moved = grid_sample(torch.from_numpy(x)[None], grid, "bilinear", "border", False)
    return moved[0].numpy()


KINDS: dict[str, Callable[[Pixels, float, np.random.Generator], Any]] = {
    "gaussian-noise": _gaussian_noise,
    "shot-noise": _shot_noise,
    "impulse-noise": _impulse_noise,
    "gaussian-blur": _gaussian_blur,
    "motion-blur": _motion_blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "fog": _fog,
    "pixelate": _pixelate,
    "rotation": _rotation,
    "translation": _translation,
}
