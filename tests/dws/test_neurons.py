"""Signs, phases, scales and canonical forms of derived spaces: the function stays, or a refusal."""

import pytest
import torch
from architectures import AttentionBlock, Gpt, Recurrent, ResidualMlp, ResNet
from equivariance import PROPERTY, rng, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dws import (
    WeightSpace,
    canonical_relu,
    canonical_sine,
    flip_signs,
    forward,
    permute,
    rescale,
    shift_phases,
)
from dws.neurons import holding


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(3.0 * x)


def weights(space, m=2, seed=0):
    theta = torch.randn(m, space.size, generator=rng(seed), dtype=torch.float64)
    x = space.split(theta)
    return space.flatten(
        {n: t.abs() + 0.1 if space.kinds.get(n) == "variance" else t for n, t in x.items()}
    )


OPERATIONS = {
    "permute": lambda s, t, g: permute(s, t, g),
    "flip_signs": lambda s, t, g: flip_signs(s, t, g),
    "rescale": lambda s, t, g: rescale(s, t, g),
    "shift_phases": lambda s, t, g: shift_phases(s, t, 3.0, g),
    "canonical_relu": lambda s, t, g: canonical_relu(s, t),
    "canonical_sine": lambda s, t, g: canonical_sine(s, t, 3.0),
}
LAYERS = {
    "batch norm": nn.BatchNorm1d,
    "layer norm": nn.LayerNorm,
    "rms norm": nn.RMSNorm,
    "slopes": nn.PReLU,
    "relu": lambda n: nn.ReLU(),
    "tanh": lambda n: nn.Tanh(),
    "sine": lambda n: Sine(),
    "gelu": lambda n: nn.GELU(),
}


class Stack(nn.Module):
    """Linear layers with anything between them, some added to what came in."""

    def __init__(self, layers, width=4):
        super().__init__()
        self.first, self.last = nn.Linear(2, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(LAYERS[name](width) for name in before), nn.Linear(width, width))
            for before, _ in layers
        )
        self.added = [added for _, added in layers]

    def forward(self, x):
        x = self.first(x)
        for block, added in zip(self.blocks, self.added, strict=True):
            x = x + block(x) if added else block(x)
        return self.last(x)


stacks = st.lists(
    st.tuples(st.lists(st.sampled_from(sorted(LAYERS)), max_size=3), st.booleans()),
    min_size=1,
    max_size=3,
)


@settings(PROPERTY, max_examples=40)
@given(layers=stacks, seed=seeds)
def test_no_operation_changes_a_function_in_silence(layers, seed):
    torch.manual_seed(0)
    space = WeightSpace.from_module(Stack(layers), torch.randn(6, 2, generator=rng(1)))
    theta = weights(space, seed=seed)
    x = torch.randn(1, 9, 2, generator=rng(2), dtype=torch.float64)
    before = double(space, theta, x)
    for name, operation in OPERATIONS.items():
        try:
            other = operation(space, theta, rng(seed))
        except ValueError:
            continue
        after = double(space, other, x)
        scale = max(1.0, before.abs().max().item())
        assert (after - before).abs().max() <= 1e-7 * scale, (name, layers)


def double(space, theta, x):
    space.origin.module.double()
    return forward(space, theta, x)


# module -> the axes that have signs, scales
HOLDING = {
    "batch norm, relu": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
        (5, 3),
        None,
        {"layer_0"},
    ),
    "batch norm, tanh": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)),
        (5, 3),
        {"layer_0"},
        None,
    ),
    "a residual stream": (
        ResidualMlp,
        (5, 3),
        {"first", "blocks_0_up", "blocks_1_up"},
        {"first"},
    ),
    "a residual CNN": (
        ResNet,
        (2, 3, 8, 8),
        None,
        {"conv1", "layers_0_conv1", "layers_1_conv1", "layers_1_conv2"},
    ),
    "an Elman RNN": (lambda: Recurrent(nn.RNN), (2, 5, 3), {"cell"}, None),
    "an LSTM": (lambda: Recurrent(nn.LSTM), (2, 5, 3), None, None),
    "attention": (AttentionBlock, (2, 4, 5), {"q_head", "q", "v"}, {"v"}),
}


@pytest.mark.parametrize("case", HOLDING)
def test_the_axes_that_have_a_symmetry(case):
    make, shape, signs, scales = HOLDING[case]
    torch.manual_seed(0)
    space = WeightSpace.from_module(make(), torch.randn(shape))
    for symmetry, expected in (("signs", signs), ("scales", scales)):
        if expected is None:
            with pytest.raises(ValueError, match=rf"no hidden axis of .* has {symmetry} that can"):
                holding(space, symmetry)
        else:
            assert {layer.axis for layer in holding(space, symmetry)} == expected


def test_a_shift_of_unknown_role_is_not_negated():
    axes = {"W": ("h", "i"), "gamma": ("h",), "beta": ("h",), "V": ("o", "h")}
    sizes = {"h": 4, "i": 2, "o": 1}
    kinds = {"W": "weight", "gamma": "scale", "beta": "shift", "V": "weight"}
    for space, kind in (
        (WeightSpace(axes, sizes, ("h",)), "W of .* of kind unknown"),
        (WeightSpace(axes, sizes, ("h",), kinds=kinds), "gamma of .* of kind scale"),
    ):
        for operation in (flip_signs, rescale):
            with pytest.raises(ValueError, match=rf"tensor {kind}.*from_module"):
                operation(space, torch.zeros(1, space.size))


def test_a_space_that_was_read_without_its_module_is_refused():
    space = WeightSpace.from_module(ResidualMlp(), torch.randn(5, 3))
    read = WeightSpace.from_dict(space.to_dict())
    assert read == space
    with pytest.raises(ValueError, match="was read without its module"):
        flip_signs(read, torch.zeros(1, read.size))


def test_the_head_of_a_gpt_keeps_its_function_under_signs():
    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (2, 5))
    space = WeightSpace.from_module(Gpt(depth=1), tokens)
    theta = weights(space)
    before = double(space, theta, tokens[None])
    other = flip_signs(space, theta, rng())
    assert not torch.equal(other, theta)
    torch.testing.assert_close(double(space, other, tokens[None]), before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1e-20, 1e-15])
def test_dead_and_tiny_units_stay_finite(size, dtype):
    space = WeightSpace.mlp([2, 4, 3, 1])
    x = space.split(torch.randn(2, space.size, generator=rng(), dtype=dtype))
    x["W1"][:, 1] *= size
    x["b1"][:, 1] *= size
    theta = space.flatten(x).requires_grad_()
    for other in (canonical_relu(space, theta), rescale(space, theta, rng(), std=3.0)):
        assert torch.isfinite(other).all()
    canonical_relu(space, theta).sum().backward()
    assert torch.isfinite(theta.grad).all()


def test_scales_of_any_deviation_have_finite_inverses():
    space = WeightSpace.mlp([1, 200, 1], bias=False)
    other = rescale(space, torch.ones(1, space.size), rng(), std=1e6)
    assert torch.isfinite(other).all()
    assert (other > 0).all()
