"""Weight spaces read off torch modules: what is permuted, and what cannot be."""

import re
from itertools import pairwise

import pytest
import torch
from equivariance import PROPERTY, widths
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.parametrizations import orthogonal

from dws import WeightSpace, act


class Sine(nn.Module):
    def forward(self, x):
        return x.sin()


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def mlp_module(widths, bias=True):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@PROPERTY
@given(widths(), st.booleans())
def test_the_widths_are_found(d, bias):
    assert WeightSpace.from_module(mlp_module(d, bias)) == WeightSpace.mlp(d, bias)


def test_nested_sequentials_and_layers_without_parameters_are_read_through():
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 5)), nn.Dropout()),
        nn.Linear(5, 2),
    )
    assert WeightSpace.from_module(module) == WeightSpace.mlp([4, 3, 5, 2])


def test_an_activation_may_be_used_twice():
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 3), relu, nn.Linear(3, 1))
    assert WeightSpace.from_module(module) == WeightSpace.mlp([2, 3, 3, 1])


def test_a_single_linear_layer_is_a_module():
    assert WeightSpace.from_module(nn.Linear(2, 3)) == WeightSpace.mlp([2, 3])


def test_taps_and_places_are_axes_of_their_own():
    space = WeightSpace.from_module(CNNS["flattened"][0]())
    assert space.axes == {
        "W1": ("n1", "n0", "taps1"),
        "b1": ("n1",),
        "W2": ("n2", "n1", "taps2"),
        "b2": ("n2",),
        "W3": ("n3", "n2", "places3"),
        "b3": ("n3",),
        "W4": ("n4", "n3"),
        "b4": ("n4",),
    }
    assert space.shapes["W2"] == (3, 4, 6)
    assert space.shapes["W3"] == (5, 3, 4)
    assert space.hidden == ("n1", "n2", "n3")


# --- what is permuted ---------------------------------------------------------------------------

# name -> (module, shape of one input)
CNNS = {
    "flattened": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 3, (2, 3), padding=1, stride=2), nn.Tanh(), nn.Flatten()),
            *(nn.Linear(12, 5), nn.Sigmoid(), nn.Linear(5, 3)),
        ),
        (2, 6, 6),
    ),
    "globally pooled": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        ),
        (1, 6, 6),
    ),
    "without biases": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(16, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)),
        ),
        (1, 4, 4),
    ),
    "one-dimensional": (
        lambda: nn.Sequential(
            *(nn.Conv1d(2, 4, 3), nn.GELU(), nn.AvgPool1d(2), nn.Conv1d(4, 3, 2, dilation=2)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)),
        ),
        (2, 10),
    ),
    "three-dimensional": (
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 3, 2), nn.ReLU(), nn.Conv3d(3, 2, (1, 2, 1)), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(12, 2)),
        ),
        (1, 4, 3, 3),
    ),
    "with layers of one's own": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3), Sine(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1), Sine()),
            *(nn.Flatten(), nn.Linear(12, 5), Sine(), nn.Linear(5, 2)),
        ),
        (1, 6, 6),
    ),
    "pooled by a layer of one's own": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Mean(), nn.Linear(4, 2)),
        (1, 6, 6),
    ),
    "from a flat vector": (
        lambda: nn.Sequential(
            *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(12, 4), nn.GLU()),
        ),
        (16,),
    ),
    "with norms without weights": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.GroupNorm(1, 4, affine=False)),
            *(nn.ReLU(), nn.Flatten(), nn.LayerNorm(16, elementwise_affine=False)),
            nn.Linear(16, 2),
        ),
        (1, 4, 4),
    ),
}


@pytest.mark.parametrize(("make", "shape"), CNNS.values(), ids=CNNS)
def test_permuted_channels_and_neurons_leave_the_function_as_it_is(make, shape):
    torch.manual_seed(0)
    module, x = make().double(), torch.randn(7, *shape, dtype=torch.float64)
    space = WeightSpace.from_module(module)
    theta = parameters_to_vector(module.parameters()).detach()
    before = module(x)
    g = {axis: torch.arange(space.sizes[axis]).roll(1) for axis in space.hidden}
    permuted = space.flatten(act(space, g, space.split(theta[None])))[0]
    vector_to_parameters(permuted, module.parameters())
    assert not torch.equal(permuted, theta)
    torch.testing.assert_close(module(x), before)


# --- refusals -----------------------------------------------------------------------------------


def tied_weights():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


def between(*layers, before=None, after=None):
    return nn.Sequential(before or nn.Linear(2, 4), *layers, after or nn.Linear(4, 1))


SHARED = nn.Linear(2, 2)
IMAGE = nn.Conv2d(1, 4, 3)
REFUSED = {
    "groups": (
        nn.Sequential(IMAGE, nn.Conv2d(4, 4, 3, groups=2)),
        "layer '1' has 2 groups",
    ),
    "a nested layer with other parameters": (
        nn.Sequential(nn.Sequential(nn.ConvTranspose2d(1, 2, 3)), nn.Linear(2, 1)),
        "layer '0.0' is a ConvTranspose2d with parameters",
    ),
    "a norm with parameters": (between(nn.LayerNorm(4)), "layer '1' is a LayerNorm with param"),
    "a norm with statistics": (
        between(nn.BatchNorm1d(4, affine=False)),
        "layer '1' is a BatchNorm1d that keeps numbers of each neuron",
    ),
    "a norm of groups": (between(nn.GroupNorm(2, 4, affine=False)), "'1' is a GroupNorm: it mixes"),
    "a gate": (between(nn.GLU(), after=nn.Linear(2, 1)), "layer '1' is a GLU: it mixes neurons"),
    "a norm over neighbours": (between(nn.LocalResponseNorm(3)), "is a LocalResponseNorm: it mix"),
    "pixels from channels": (
        between(nn.PixelShuffle(2), nn.Flatten(), before=IMAGE),
        "layer '1' is a PixelShuffle: it mixes neurons",
    ),
    "pooling of neurons": (
        between(nn.MaxPool1d(2), after=nn.Linear(2, 1)),
        "layer '1' is a MaxPool1d: it mixes neurons",
    ),
    "pooling after flattening": (
        between(nn.Flatten(), nn.AvgPool1d(2), before=IMAGE),
        "layer '2' is a AvgPool1d: it mixes neurons",
    ),
    "no flattening": (between(nn.ReLU(), before=IMAGE), "put nn.Flatten() between"),
    "flattening of other dimensions": (
        between(nn.Flatten(2), before=IMAGE),
        "layer '1' flattens other dimensions than 1 to -1",
    ),
    "a convolution over neurons": (
        between(after=nn.Conv1d(4, 1, 1)),
        "layer '1' is a convolution after a linear layer",
    ),
    "a convolution over a flattened image": (
        between(nn.Flatten(), before=IMAGE, after=nn.Conv1d(4, 1, 1)),
        "layer '2' is a convolution after a linear layer or nn.Flatten",
    ),
    "an own forward pass": (
        between(Residual(nn.Linear(4, 4))),
        "layer '1' is a Residual with parameters",
    ),
    "no chain": (between(after=nn.Linear(5, 1)), "with 4 outputs is followed by one with 5 inputs"),
    "no chain of multiples": (
        between(after=nn.Linear(8, 1)),
        "linear layer with 4 outputs is followed by one with 8 inputs",
    ),
    "no chain of multiples after an image": (
        nn.Sequential(IMAGE, nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(6, 1)),
        "linear layer with 3 outputs is followed by one with 6 inputs",
    ),
    "no chain of channels": (
        nn.Sequential(IMAGE, nn.Conv2d(3, 1, 1)),
        "with 4 outputs is followed by the convolution '1' with 3 input channels",
    ),
    "no chain from an image": (
        between(nn.Flatten(), before=IMAGE, after=nn.Linear(6, 1)),
        "a convolution with 4 outputs is followed by one with 6 inputs",
    ),
    "no linear layer": (nn.Sequential(nn.ReLU()), "Sequential has no nn.Linear layer"),
    "one layer used twice": (
        nn.Sequential(SHARED, nn.ReLU(), SHARED),
        "12 weights, but the module has 6 parameters",
    ),
    "two layers with one weight": (tied_weights(), "12 weights, but the module has 8 parameters"),
    "weights made of others": (
        between(before=orthogonal(nn.Linear(2, 4))),
        "layer '0' has the parameters ['bias', 'parametrizations.weight.original']",
    ),
    "no sizes yet": (nn.Sequential(nn.LazyLinear(3)), "layer '0' is lazy"),
}


@pytest.mark.parametrize(("module", "message"), REFUSED.values(), ids=REFUSED)
def test_one_line_refuses(module, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        WeightSpace.from_module(module)
    assert "\n" not in str(caught.value)
    assert "WeightSpace.from_module(module, x)" in str(caught.value)
