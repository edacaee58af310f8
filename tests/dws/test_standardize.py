"""Standardisation per orbit."""

import pytest
import torch
from equivariance import (
    HAND_BUILT,
    PROPERTY,
    SPACES,
    assert_same,
    moved,
    random_features,
    rng,
    seeds,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st

from dws import Standardize, WeightSpace, act, random_permutation

SPACE = WeightSpace.mlp([2, 4, 3, 2])


def uneven_weights(space, m, seed=0):
    """Weights whose mean and scale differ from coordinate to coordinate."""
    generator = rng(seed)
    scale, shift = torch.randn(2, space.size, generator=generator, dtype=torch.float64)
    return shift + scale * torch.randn(m, space.size, generator=generator, dtype=torch.float64)


def orbits(space):
    """Positions of the flat vector that swaps of two neurons move into one another."""
    label = list(range(space.size))
    for axis in space.hidden:
        for i in range(space.sizes[axis] - 1):
            order = list(range(space.sizes[axis]))
            order[i], order[i + 1] = order[i + 1], order[i]
            for a, b in enumerate(moved(space, {axis: order})):
                old, new = max(label[a], label[b]), min(label[a], label[b])
                label = [new if x == old else x for x in label]
    return [[i for i, x in enumerate(label) if x == found] for found in sorted(set(label))]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_weights_of_an_orbit_have_mean_0_and_deviation_1(space):
    theta = uneven_weights(space, 5)
    out = space.flatten(Standardize(space).double().fit(theta)(space.split(theta)))
    for orbit in orbits(space):
        values = out[:, orbit]
        torch.testing.assert_close(values.mean(), torch.zeros((), dtype=torch.float64))
        torch.testing.assert_close(values.square().mean(), torch.ones((), dtype=torch.float64))


def test_an_entry_of_a_fixed_axis_has_statistics_of_its_own():
    theta = uneven_weights(SPACE, 5)
    layer = Standardize(SPACE).double().fit(theta)
    weights = SPACE.split(theta)["W1"][..., 0]
    expected = torch.stack([weights[:, :, i].mean() for i in range(2)])
    torch.testing.assert_close(layer.mean_W1.flatten(), expected)


def test_nothing_changes_before_fit():
    x = random_features(SPACE, 3, 2, rng(), torch.float32)
    assert_same(Standardize(SPACE)(x), x, 0)


@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_standardising_commutes_with_the_group_elsewhere_too(space):
    assert_commutes(space, 0)


@PROPERTY
@given(widths(), seeds)
def test_standardising_commutes_with_the_group(d, seed):
    assert_commutes(WeightSpace.mlp(d), seed)


def assert_commutes(space, seed):
    layer = Standardize(space).double().fit(uneven_weights(space, 5, seed))
    generator = rng(seed)
    x = random_features(space, 4, 2, generator)
    g = random_permutation(space, generator, batch=4)
    assert_same(layer(act(space, g, x)), act(space, g, layer(x)), 0)


@PROPERTY
@given(widths(), seeds)
def test_statistics_do_not_depend_on_the_order_of_neurons(d, seed):
    space = WeightSpace.mlp(d)
    theta = uneven_weights(space, 5, seed)
    g = random_permutation(space, rng(seed), batch=5)
    permuted = space.flatten(act(space, g, space.split(theta)))
    one, two = (Standardize(space).double().fit(t).state_dict() for t in (theta, permuted))
    assert_same(one, two, 1e-12)


CONSTANTS = [0.0, 0.1, -1.7, 1e-30, 3e10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", CONSTANTS)
def test_an_orbit_that_never_varies_stays_near_zero(value, dtype):
    theta = torch.full((3, SPACE.size), value, dtype=dtype)
    out = SPACE.flatten(Standardize(SPACE).fit(theta)(SPACE.split(theta)))
    assert out.abs().max() <= 1e-6 * abs(value)


def test_an_orbit_that_varies_less_than_its_statistics_can_hold_stays_finite():
    theta = 1e-50 * uneven_weights(SPACE, 5)
    out = SPACE.flatten(Standardize(SPACE).fit(theta)(SPACE.split(theta)))
    assert torch.isfinite(out).all()


def test_an_orbit_that_never_varies_does_not_stop_the_others():
    theta = uneven_weights(SPACE, 5)
    theta[:, -1] = 0.1
    out = SPACE.flatten(Standardize(SPACE).double().fit(theta)(SPACE.split(theta)))
    torch.testing.assert_close(out[:, -2].std(correction=0).item(), 1.0)


@PROPERTY
@given(st.sampled_from([1e-8, 1e-3, 1e3, 1e8]), seeds)
def test_scale_and_shift_of_the_weights_do_not_matter(scale, seed):
    theta = uneven_weights(SPACE, 5, seed)
    other = scale * (theta + 3)
    one, two = (Standardize(SPACE).double().fit(t)(SPACE.split(t)) for t in (theta, other))
    assert_same(one, two, 1e-9)


def test_statistics_of_many_networks_are_those_of_all_at_once(monkeypatch):
    theta = 3 + uneven_weights(SPACE, 23).float()
    whole = Standardize(SPACE).fit(theta)
    monkeypatch.setattr("dws.standardize.CHUNK_ENTRIES", 5 * SPACE.size)  # 5 parts, one of them 3
    parts = Standardize(SPACE).fit(theta)
    for name, x in SPACE.split(theta.double()).items():
        hidden = [i for i, a in enumerate(SPACE.axes[name], start=1) if a in SPACE.hidden]
        expected = x.std([0, *hidden], correction=0, keepdim=True).float()
        torch.testing.assert_close(parts.get_buffer(f"std_{name}"), expected)
    assert_same(dict(parts.named_buffers()), dict(whole.named_buffers()), 1e-6)


def test_statistics_need_little_memory():
    """Far less than a copy of the weights, in which they once took more than one."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
            if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in known:
                largest.append(out.nbytes)
            return out

    space = WeightSpace.mlp([2, 32, 32, 1])
    theta = torch.randn(10_000, space.size)
    with Watch():
        Standardize(space).fit(theta)
    assert max(largest) < theta.nbytes / 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    theta = uneven_weights(SPACE, 5)
    theta[2, 7] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        Standardize(SPACE).fit(theta)


BAD_SHAPES = {"too short": (5, 4), "channels": (5, SPACE.size, 2), "no networks": (0, SPACE.size)}


@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="expected weights"):
        Standardize(SPACE).fit(torch.zeros(shape))
