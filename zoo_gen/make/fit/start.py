"""Where fitting starts: weights of a network that has learned nothing."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from zoo_gen.recipe.fit import Fit


def init(fit: Fit, seeds: list[int]) -> Tensor:
    """Initial weights ``[m, size]``, each row a function of the recipe and its own seed alone."""
    bounds = []
    widths = fit.space.widths
    layers = len(widths) - 1
    for k, (fan_in, fan_out) in enumerate(pairwise(widths)):
        default = 1 / sqrt(fan_in)  # of nn.Linear, for weights and biases
        hidden = sqrt(6 / fan_in) / fit.w0
        if fit.init == "default":
            weight, bias = default, default
        elif fit.init == "siren":
            weight, bias = (1 / fan_in if k == 0 else hidden), default
        else:
            weight, bias = (default, default) if k == layers - 1 else (hidden, 0.0)
        bounds += [np.full(fan_in * fan_out, weight), np.full(fan_out, bias)]
    bound = np.concatenate(bounds).astype(np.float32)
    # PCG64 takes all 64 bits; torch's own CPU generator would use 32 of them, and collide
    draws = [np.random.Generator(np.random.PCG64(s)).random(len(bound), np.float32) for s in seeds]
    return torch.from_numpy((2 * np.stack(draws) - 1) * bound)
