"""Augmentations that change the function: by exactly what they say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dws import WeightSpace, forward
from dws.augment import add_noise, drop_quantile, drop_weights, mixup, rotate, translate, zoom
from tests.dws.equivariance import PROPERTY, SPACES, rng, seeds, widths

MOVES = {
    "rotate": lambda s, t: rotate(s, t, torch.linspace(-3, 3, len(t)).double()),
    "translate": lambda s, t: translate(s, t, torch.ones(len(t), 2)),
    "zoom": lambda s, t: zoom(s, t, torch.linspace(0.5, 2, len(t))),
}
CHANGES = {
    **MOVES,
    "noise": lambda s, t: add_noise(s, t, 0.1, rng()),
    "dropped weights": lambda s, t: drop_weights(s, t, 0.5, rng()),
    "dropped quantile": lambda s, t: drop_quantile(s, t, 0.5),
    "mixup": lambda s, t: mixup(t, t.flip(0), 0.3),
}


def random_theta(space, m=5, seed=0):
    return torch.randn(m, space.size, generator=rng(seed), dtype=torch.float64)


def points(m, inputs, seed=1):
    return torch.randn(m, 7, inputs, generator=rng(seed), dtype=torch.float64)


@PROPERTY
@given(widths=widths(outer=(2, 2)), seed=seeds)
def test_rotated_networks_are_the_old_ones_at_turned_points(widths, seed):
    space, generator = WeightSpace.mlp(widths), rng(seed)
    theta = random_theta(space, seed=seed)
    angle = 6 * torch.rand(5, generator=generator, dtype=torch.float64)
    x = points(5, 2)
    z = torch.view_as_complex(x) * torch.polar(torch.ones_like(angle), angle).unsqueeze(1)
    turned = torch.view_as_real(z)
    torch.testing.assert_close(
        forward(space, rotate(space, theta, angle), x, "tanh"),
        forward(space, theta, turned, "tanh"),
    )


@PROPERTY
@given(widths=widths(), seed=seeds)
def test_translated_networks_are_the_old_ones_at_shifted_points(widths, seed):
    space, generator = WeightSpace.mlp(widths), rng(seed)
    theta = random_theta(space, seed=seed)
    shift = torch.randn(5, widths[0], generator=generator, dtype=torch.float64)
    x = points(5, widths[0])
    torch.testing.assert_close(
        forward(space, translate(space, theta, shift), x, "tanh"),
        forward(space, theta, x + shift.unsqueeze(1), "tanh"),
    )


def test_one_shift_is_that_of_all_networks():
    space = WeightSpace.mlp([2, 4, 1])
    theta, shift = random_theta(space, seed=0), torch.tensor([0.5, -1.0], dtype=torch.float64)
    assert torch.equal(translate(space, theta, shift), translate(space, theta, shift.expand(5, 2)))


@PROPERTY
@given(widths=widths(), seed=seeds)
def test_zoomed_networks_are_the_old_ones_at_scaled_points(widths, seed):
    space, generator = WeightSpace.mlp(widths), rng(seed)
    theta = random_theta(space, seed=seed)
    factor = torch.rand(5, generator=generator, dtype=torch.float64) + 0.5
    x = points(5, widths[0])
    torch.testing.assert_close(
        forward(space, zoom(space, theta, factor), x, "tanh"),
        forward(space, theta, x * factor.reshape(5, 1, 1), "tanh"),
    )


@pytest.mark.parametrize("move", [rotate, translate, zoom])
def test_one_number_holds_for_all_networks(move):
    space = WeightSpace.mlp([2, 3, 1])
    theta = random_theta(space)
    shape = (5, 2) if move is translate else (5,)
    each = move(space, theta, torch.full(shape, 0.3, dtype=torch.float64))
    assert torch.equal(move(space, theta, 0.3), each)


@pytest.mark.parametrize("case", CHANGES)
def test_the_argument_is_left_as_it_was(case):
    space = WeightSpace.mlp([2, 4, 1])
    theta = random_theta(space)
    kept = theta.clone()
    assert not torch.equal(CHANGES[case](space, theta), kept)
    assert torch.equal(theta, kept)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", CHANGES)
def test_other_dtypes_are_changed_alike(case, dtype):
    space = WeightSpace.mlp([2, 4, 1])
    theta = random_theta(space).to(dtype)
    other = CHANGES[case](space, theta)
    assert other.dtype == dtype
    exact = CHANGES[case](space, theta.double())
    torch.testing.assert_close(other.double(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", SPACES)
def test_noise_has_the_scale_of_each_tensor_of_each_network(name):
    space = SPACES[name]
    m = 3000
    one = space.split(random_theta(space, m=2))
    scales = torch.tensor([0.01, 10.0]).double()
    one = {
        n: x * scales.reshape(2, *[1] * (x.ndim - 1)) * (i + 1)
        for i, (n, x) in enumerate(one.items())
    }
    theta = space.flatten(one).repeat_interleave(m // 2, 0)
    noise = space.split(add_noise(space, theta, 0.3, rng()) - theta)
    for tensor, x in one.items():
        for i, half in enumerate(noise[tensor].split(m // 2)):
            expected = 0.3 * x[i].std(correction=0)
            torch.testing.assert_close(half.square().mean().sqrt(), expected, rtol=0.1, atol=1e-12)


def test_noise_on_a_network_does_not_depend_on_its_batch():
    space = WeightSpace.mlp([2, 4, 1])
    theta = random_theta(space)
    others = torch.cat([theta[:1], 100 * theta[1:]])
    noisy = [add_noise(space, t, 0.1, rng())[0] for t in (theta, others)]
    assert torch.equal(*noisy)


def test_dropped_weights_are_zero_and_the_others_as_they_were():
    space = WeightSpace.mlp([2, 30, 30, 1])
    theta = random_theta(space)
    other = drop_weights(space, theta, 0.2, rng())
    dropped = other != theta
    assert (other[dropped] == 0).all()
    assert abs(dropped.double().mean() - 0.2) < 0.02
    assert not torch.equal(dropped[0], dropped[1])


@PROPERTY
@given(widths=widths(), share=st.floats(0, 1), seed=seeds)
def test_the_dropped_quantile_is_each_tensors_smallest(widths, share, seed):
    space = WeightSpace.mlp(widths)
    theta = random_theta(space, seed=seed)
    before, after = (space.split(t) for t in (theta, drop_quantile(space, theta, share)))
    for name, x in before.items():
        for old, new in zip(x.flatten(1).tolist(), after[name].flatten(1).tolist(), strict=True):
            count = round(share * len(old))
            smallest = sorted(range(len(old)), key=lambda i: abs(old[i]))[:count]
            assert new == [0 if i in smallest else w for i, w in enumerate(old)]


def test_equal_weights_are_dropped_in_part():
    space = WeightSpace.mlp([1, 8, 1])
    assert drop_quantile(space, torch.ones(2, space.size), 0.5).sum(1).tolist() == [13, 13]


@PROPERTY
@given(seed=seeds)
def test_mixtures_lie_on_the_line_between(seed):
    space = WeightSpace.mlp([2, 3, 1])
    a, b = random_theta(space, seed=seed), random_theta(space, seed=seed + 1)
    share = torch.rand(5, generator=rng(seed), dtype=torch.float64)
    mixed = mixup(a, b, share)
    torch.testing.assert_close(mixed - b, share.unsqueeze(1) * (a - b))
    assert torch.equal(mixup(a, b, 1.0), a)
    assert torch.equal(mixup(a, b, 0.0), b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, t: add_noise(s, t, -1), r"std: got -1, expected 0 or more"),
        (lambda s, t: add_noise(s, t, math.nan), r"std: got nan, expected 0 or more"),
        (lambda s, t: drop_weights(s, t, 1.1), r"share: got 1.1, expected 0 to 1"),
        (lambda s, t: drop_weights(s, t[:, 1:], 0.5), r"expected weights \[m, 17\]"),
        (lambda s, t: drop_quantile(s, t, -0.1), r"share: got -0.1, expected 0 to 1"),
        (
            lambda s, t: rotate(WeightSpace.mlp([3, 3, 1]), t[:, :16], 1.0),
            r"rotations need 2 inputs, the MLP 3-3-1 has 3",
        ),
        (lambda s, t: rotate(s, t, torch.ones(4)), r"expected a number or \[5\], got \[4\]"),
        (
            lambda s, t: translate(s, t, torch.ones(3)),
            r"expected a number, \[2\] or \[5, 2\], got \[3\]",
        ),
        (
            lambda s, t: translate(WeightSpace.mlp([2, 4, 1], bias=False), t[:, :12], 1.0),
            r"the MLP 2-4-1 without biases has no bias b1",
        ),
        (
            lambda s, t: zoom(SPACES["kernel with taps last"], t, 1.0),
            r"is not the space of an MLP",
        ),
        (lambda s, t: mixup(t, t[:4], 0.5), r"the same \[m, size\], got \[5, 17\] and \[4, 17\]"),
    ],
)
def test_what_cannot_be_done_is_told(call, message):
    space = WeightSpace.mlp([2, 4, 1])
    with pytest.raises(ValueError, match=message):
        call(space, random_theta(space))
