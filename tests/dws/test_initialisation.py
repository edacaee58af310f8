"""Initialisation keeps features of order one through depth, at any width.

Second moments after ten layers with ReLUs, of each tensor and of each part of it: a tensor is the
sum of parts that vary along all, some or none of its hidden axes, and a stack in which one of them
dies out can no longer tell neurons apart.
"""

import pytest
import torch
from equivariance import random_features, rng, subsets

from dws import EquivariantLinear, WeightSpace

WIDTHS = [4, 32, 256, 1024]
CHANNELS = 8


def after_ten_layers(width, pool, heads=0):
    space = WeightSpace.mlp([2, width, width, 1])
    torch.manual_seed(0)
    x = random_features(space, 1, CHANNELS, rng(), torch.float32)
    with torch.no_grad():
        for _ in range(10):
            layer = EquivariantLinear(space, CHANNELS, CHANNELS, pool, heads=heads)
            x = {name: y.relu() for name, y in layer(x).items()}
    return space, x


def moments(x):
    return {name: y.square().mean().item() for name, y in x.items()}


def part_moments(space, x):
    """(tensor, axes) -> second moment of the part of it that varies along just these hidden axes.

    The part is x averaged over the other hidden axes, less all parts that vary along fewer.
    """
    found = {}
    for name, y in x.items():
        dims = {a: 1 + i for i, a in enumerate(space.axes[name]) if a in space.hidden}
        parts = {}
        for axes in subsets(list(dims)):
            others = [dims[a] for a in dims if a not in axes]
            part = y.mean(others, keepdim=True) if others else y
            for fewer in subsets(axes)[:-1]:
                part = part - parts[fewer]
            parts[axes] = part
            found[name, axes] = part.square().mean().item()
    return found


def outside(low, high, found):
    return {what: m for what, m in found.items() if not low < m < high}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("pool", "heads"), [("mean", 0), ("sum", 0), ("attention", 0), ("mean", 2)], ids=str
)
def test_ten_relu_layers_keep_every_part_of_every_tensor(pool, heads, width):
    space, x = after_ten_layers(width, pool, heads)
    assert outside(0.1, 10, moments(x)) == {}
    assert outside(0.01, 10, part_moments(space, x)) == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_ten_relu_layers_keep_the_second_moment_of_a_maximum(width):
    _, x = after_ten_layers(width, "max")  # its terms are no parts: none of them is promised
    assert outside(0.1, 200, moments(x)) == {}


def test_biases_start_at_zero():
    assert not EquivariantLinear(WeightSpace.mlp([2, 4, 3, 1]), 2, 3).biases.any()
