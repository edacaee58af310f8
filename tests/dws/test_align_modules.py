"""Alignment of whole modules: a residual CNN with batch norm, a transformer, recurrent networks."""

import copy

import pytest
import torch
from torch import nn

from dws import WeightSpace, act, align, random_permutation
from tests.dws.architectures import Encoder, Recurrent, ResNet
from tests.dws.equivariance import rng

MODULES = {
    "a ResNet with batch norm": (lambda: ResNet(width=8, blocks=(2, 2, 2)), (4, 3, 16, 16)),
    "a transformer": (Encoder, (4, 5, 3)),
    "an LSTM": (lambda: Recurrent(nn.LSTM), (4, 5, 3)),
}


def made(case, seed=0):
    """A module in float64 with running statistics that are not those of its start, and inputs."""
    torch.manual_seed(seed)
    build, shape = MODULES[case]
    module = build().double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 50)
    return module, torch.randn(shape, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("case", MODULES)
def test_a_planted_permutation_is_undone(case, noise):
    module, x = made(case)
    space = WeightSpace.from_module(module, x)
    reference = space.vector(module)
    near = reference + noise * reference.std() * torch.randn(5, space.size, generator=rng())
    g = random_permutation(space, rng(1), batch=5)
    shuffled = space.flatten(act(space, g, space.split(near)))
    assert torch.equal(align(space, shuffled, reference), near)


@pytest.mark.parametrize("case", MODULES)
def test_an_aligned_module_computes_the_same_and_is_no_farther(case):
    (first, x), (second, _) = made(case), made(case, seed=1)
    space = WeightSpace.from_module(first, x)
    a, b = space.vector(first), space.vector(second)
    moved = align(space, b[None], a)[0]
    aligned = copy.deepcopy(second)
    space.load(aligned, moved)
    with torch.no_grad():
        torch.testing.assert_close(aligned(x), second(x), rtol=1e-10, atol=1e-10)
    compared = space.flatten(
        {
            name: torch.full(
                (1, *shape, 1), float(space.kinds.get(name) not in ("mean", "variance"))
            )
            for name, shape in space.shapes.items()
        }
    )[0]
    assert ((moved - a) * compared).norm() < ((b - a) * compared).norm()
