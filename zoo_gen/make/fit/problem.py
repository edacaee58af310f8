"""What every execution is given, and the arithmetic that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import cos, pi

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo_gen.make.classifiers.optimizers import RULES, Rule
from zoo_gen.recipe.fit import Fit

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """Networks to fit, each to its own signal.

    Attributes:
        fit: the recipe.
        seeds: of the members; the points that a member's steps draw follow from its own.
        x: ``[points, n_0]``, what the networks take: coordinates or their Fourier features.
        y: ``[m, points, n_M]``.
    """

    fit: Fit
    seeds: list[int]
    x: Array
    y: Array

    @property
    def drawn(self) -> int:
        """Points of a step."""
        return self.fit.points_per_step or len(self.x)

    @cached_property
    def rule(self) -> Rule:
        """Of the optimiser, its letters as in `zoo_gen.make.classifiers.optimizers`."""
        fit = self.fit
        if fit.optimizer == "adam":
            return RULES["adam"]
        sgd = RULES["sgd"]
        return Rule(fit.momentum, sgd.add, sgd.square, sgd.epsilon, sgd.scaled, sgd.corrected)

    @cached_property
    def factors(self) -> Array:
        """Of each step, from 0: learning rate times a_t, and b_t; ``[steps, 2]``."""
        out = np.empty((self.fit.steps, 2))
        for t in range(self.fit.steps):
            share = 1.0
            if self.fit.schedule == "cosine":
                share = (1 + cos(pi * t / self.fit.steps)) / 2
            a, b = self.rule.factors(t + 1)
            out[t] = self.fit.learning_rate * share * a, b
        return out.astype(np.float32)


def outputs(fit: Fit, theta: Tensor, x: Array) -> Tensor:
    """Outputs of the last layer at these inputs, ``[m, points, d_out]``."""
    points = torch.from_numpy(x).unsqueeze(0)
    batch = max(1, (1 << 20) // (len(x) * max(fit.widths)))
    forward_pass, space = fit.forward_pass, fit.space
    return torch.cat([forward_pass.logits(space, t, points) for t in theta.split(batch)])


def losses(fit: Fit, out: Tensor, y: Tensor) -> Tensor:
    """The mean loss ``[m]`` of each network, given its last layer's outputs ``[m, ...]``."""
    if fit.loss == "cross_entropy":
        each = torch.nn.functional.binary_cross_entropy_with_logits(out, y, reduction="none")
    else:
        each = (out - y).square()
    return each.flatten(1).mean(1)


def drawn_points(
    seeds: npt.NDArray[np.uint64], step: npt.NDArray[np.int64], k: int, points: int
) -> npt.NDArray[np.int64]:
    """The points that members see at their steps, drawn with replacement: ``[m, k]``.

    A counter through a mixer of 32 bits, so that every execution draws the same without a state.

    Args:
        seeds: ``[m]``.
        step: ``[m]``, from 0.
        k: how many.
        points: of the signal.
    """
    low, high = (
        (seeds & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        (seeds >> np.uint64(32)).astype(np.uint32),
    )
    key = _mixed(low ^ _mixed(high ^ _mixed(step.astype(np.uint32))))
    place = np.arange(k, dtype=np.uint32) * np.uint32(0x9E3779B9)
    word = _mixed(key[:, None] + place).astype(np.uint64)
    return (word * np.uint64(points) >> np.uint64(32)).astype(np.int64)


def _mixed(x: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x7FEB352D)
    x = (x ^ x >> np.uint32(15)) * np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)
