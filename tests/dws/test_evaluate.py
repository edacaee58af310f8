"""Evaluating many networks at once."""

import math
from itertools import pairwise

import pytest
import torch
from equivariance import PROPERTY, rng, seeds, widths
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace, act, forward, random_permutation

LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
SPACE = WeightSpace.mlp([2, 4, 3, 1])


def sequential(d, activation, bias=True):
    layers = []
    for before, after in pairwise(d):
        layers += [nn.Linear(before, after, bias), activation()]
    return nn.Sequential(*layers[:-1]).double()


def random_weights(space, m, generator):
    return torch.randn(m, space.size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("activation", LAYERS)
@PROPERTY
@given(widths(), st.booleans(), seeds)
def test_a_batch_computes_what_its_modules_compute(activation, d, bias, seed):
    torch.manual_seed(seed)
    modules = [sequential(d, LAYERS[activation], bias) for _ in range(3)]
    theta = torch.stack([parameters_to_vector(module.parameters()) for module in modules])
    x = torch.randn(3, 5, d[0], dtype=torch.float64)
    expected = torch.stack([module(points) for module, points in zip(modules, x, strict=True)])
    torch.testing.assert_close(forward(WeightSpace.mlp(d, bias), theta, x, activation), expected)


@PROPERTY
@given(widths(), seeds)
def test_sine_equals_a_loop_over_points_and_neurons(d, seed):
    space, w0 = WeightSpace.mlp(d), 3.0
    theta = random_weights(space, 2, rng(seed))
    x = torch.randn(2, 3, d[0], generator=rng(seed + 1), dtype=torch.float64)
    expected = torch.empty(2, 3, d[-1], dtype=torch.float64)
    for i in range(2):
        for p in range(3):
            h, rest = x[i, p].tolist(), theta[i].tolist()
            for m in range(1, len(d)):
                weight, rest = rest[: d[m] * d[m - 1]], rest[d[m] * d[m - 1] :]
                bias, rest = rest[: d[m]], rest[d[m] :]
                h = [
                    bias[j] + sum(weight[j * d[m - 1] + k] * h[k] for k in range(d[m - 1]))
                    for j in range(d[m])
                ]
                if m < len(d) - 1:
                    h = [math.sin(w0 * z) for z in h]
            expected[i, p] = torch.tensor(h)
    torch.testing.assert_close(forward(space, theta, x, "sine", w0), expected)


def test_sine_with_frequency_30_is_the_default():
    theta, x = random_weights(SPACE, 2, rng()), torch.rand(2, 5, 2, dtype=torch.float64)
    expected = forward(SPACE, theta, x, lambda z: torch.sin(30 * z))
    torch.testing.assert_close(forward(SPACE, theta, x), expected)


@pytest.mark.parametrize("activation", ["sine", *LAYERS])
@PROPERTY
@given(widths(), seeds)
def test_permuted_weights_are_the_same_function(activation, d, seed):
    space, generator = WeightSpace.mlp(d), rng(seed)
    theta = random_weights(space, 4, generator)
    g = random_permutation(space, generator, batch=4)
    permuted = space.flatten(act(space, g, space.split(theta)))
    x = torch.randn(1, 5, d[0], generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        forward(space, permuted, x, activation, w0=2.0),
        forward(space, theta, x, activation, w0=2.0),
    )


def test_shared_inputs_are_seen_by_every_network():
    theta, x = random_weights(SPACE, 3, rng()), torch.randn(1, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(
        forward(SPACE, theta, x, "tanh"), forward(SPACE, theta, x.repeat(3, 1, 1), "tanh")
    )


@pytest.mark.parametrize("shape", [(2, 5, 2), (3, 5, 1), (5, 2)], ids=str)
def test_inputs_of_another_shape_are_refused_with_what_was_expected(shape):
    with pytest.raises(ValueError, match=r"expected inputs \[3 or 1, points, 2\]") as caught:
        forward(SPACE, random_weights(SPACE, 3, rng()), torch.zeros(shape, dtype=torch.float64))
    assert f"got {list(shape)}" in str(caught.value)


def test_weights_of_another_space_are_refused():
    with pytest.raises(ValueError, match=r"\[m, 31\].*got \[3, 30\]"):
        forward(SPACE, torch.zeros(3, 30), torch.zeros(1, 5, 2))


def test_an_unknown_activation_is_told_what_is_known():
    with pytest.raises(ValueError, match=r"'swish'.*sine, relu, tanh, gelu"):
        forward(SPACE, torch.zeros(3, 31), torch.zeros(1, 5, 2), "swish")


def test_a_space_that_is_no_mlp_is_refused():
    space = WeightSpace({"A": ("p", "q")}, {"p": 2, "q": 2}, ("p",))
    with pytest.raises(ValueError, match="neither an MLP's nor was it derived"):
        forward(space, torch.zeros(3, 4), torch.zeros(1, 5, 2))


def test_weights_with_several_channels_are_no_networks() -> None:
    space = WeightSpace.mlp((2, 3, 1))
    with pytest.raises(ValueError, match=r"expected weights \[m, 13\], got \[4, 13, 2\]"):
        forward(space, torch.zeros(4, 13, 2), torch.zeros(1, 5, 2))
