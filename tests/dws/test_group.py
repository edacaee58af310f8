"""The permutation group and its action."""

import math
from collections import Counter

import pytest
import torch
from equivariance import (
    PROPERTY,
    SPACES,
    moved,
    random_features,
    rng,
    seeds,
    widths,
)
from hypothesis import given

from dws import WeightSpace, act, compose, inverse, random_permutation

KINDS = {"one for all": None, "one each": 4}
PAIRS = [(a, b) for a in KINDS.values() for b in KINDS.values()]


def assert_same_element(g, h):
    assert g.keys() == h.keys()
    for axis in g:
        a, b = torch.broadcast_tensors(g[axis], h[axis])
        assert torch.equal(a, b), axis


def assert_equal_features(x, y):
    assert x.keys() == y.keys()
    assert all(torch.equal(x[name], y[name]) for name in x)


def identity(space):
    return {axis: torch.arange(space.sizes[axis]) for axis in space.hidden}


def elements(space, seed, *batches):
    generator = rng(seed)
    return [random_permutation(space, generator, batch) for batch in batches]


# --- laws of the group --------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [(a, b, c) for a, b in PAIRS for c in KINDS.values()])
@PROPERTY
@given(widths(), seeds)
def test_composition_is_associative(batches, d, seed):
    a, b, c = elements(WeightSpace.mlp(d), seed, *batches)
    assert_same_element(compose(compose(a, b), c), compose(a, compose(b, c)))


def test_elements_of_other_axes_do_not_compose():
    (g,), (h,) = (elements(WeightSpace.mlp(d), 0, None) for d in ([2, 3, 1], [2, 3, 3, 1]))
    with pytest.raises(ValueError, match=r"axes \['n1'\] and \['n1', 'n2'\]: give two elements"):
        compose(g, h)


@pytest.mark.parametrize("batch", KINDS.values(), ids=KINDS)
@PROPERTY
@given(widths(), seeds)
def test_the_identity_changes_no_element(batch, d, seed):
    space = WeightSpace.mlp(d)
    (g,) = elements(space, seed, batch)
    assert_same_element(compose(g, identity(space)), g)
    assert_same_element(compose(identity(space), g), g)


@pytest.mark.parametrize("batch", KINDS.values(), ids=KINDS)
@PROPERTY
@given(widths(), seeds)
def test_an_element_and_its_inverse_cancel(batch, d, seed):
    space = WeightSpace.mlp(d)
    (g,) = elements(space, seed, batch)
    assert_same_element(compose(g, inverse(g)), identity(space))
    assert_same_element(compose(inverse(g), g), identity(space))


# --- the action ---------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_one_element_moves_every_network_as_its_matrix_does(space):
    (g,) = elements(space, 3, None)
    theta = torch.randn(4, space.size, 2)
    assert torch.equal(space.flatten(act(space, g, space.split(theta))), theta[:, moved(space, g)])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_one_element_each_moves_each_network_as_its_matrix_does(space):
    (g,) = elements(space, 3, 4)
    theta = torch.randn(4, space.size, 2)
    expected = torch.stack(
        [
            row[moved(space, {axis: order[i] for axis, order in g.items()})]
            for i, row in enumerate(theta)
        ]
    )
    assert torch.equal(space.flatten(act(space, g, space.split(theta))), expected)


@pytest.mark.parametrize("batches", PAIRS)
@PROPERTY
@given(widths(), seeds)
def test_acting_twice_is_acting_with_the_composition(batches, d, seed):
    space = WeightSpace.mlp(d)
    g, h = elements(space, seed, *batches)
    x = random_features(space, 4, 2, rng(seed))
    assert_equal_features(act(space, compose(g, h), x), act(space, g, act(space, h, x)))


def test_the_identity_leaves_features_as_they_are():
    space = SPACES["2-3-3-3-2"]
    x = random_features(space, 4, 2, rng())
    assert_equal_features(act(space, identity(space), x), x)


BAD_ORDERS = {
    "of another length": {"n1": torch.arange(3), "n2": torch.arange(3)},
    "missing": {"n2": torch.arange(3)},
    "for fewer networks": {"n1": torch.arange(4).repeat(2, 1), "n2": torch.arange(3)},
    "for more networks": {"n1": torch.arange(4).repeat(6, 1), "n2": torch.arange(3)},
    "of three dimensions": {"n1": torch.arange(4).repeat(5, 1, 1), "n2": torch.arange(3)},
}


@pytest.mark.parametrize("g", BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_an_order_is_refused_that_is(g):
    space = WeightSpace.mlp([2, 4, 3, 1])
    with pytest.raises(ValueError, match="axis n1: expected an order"):
        act(space, g, random_features(space, 5, 1, rng()))


def test_an_order_of_a_fixed_axis_is_refused():
    space = WeightSpace.mlp([2, 4, 3, 1])
    g = random_permutation(space.permutable("n0"), rng())
    with pytest.raises(ValueError, match=r"axes \['n0'\] are fixed in the MLP 2-4-3-1"):
        act(space, g, random_features(space, 5, 1, rng()))


def test_features_of_another_space_are_refused():
    space, other = WeightSpace.mlp([2, 4, 1]), WeightSpace.mlp([2, 5, 1])
    with pytest.raises(ValueError, match="tensor W1"):
        act(space, identity(space), random_features(other, 5, 1, rng()))


# --- random elements ----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", KINDS.values(), ids=KINDS)
@PROPERTY
@given(widths(), seeds)
def test_a_random_element_orders_every_hidden_axis(batch, d, seed):
    space = WeightSpace.mlp(d)
    (g,) = elements(space, seed, batch)
    assert tuple(g) == space.hidden
    for axis, order in g.items():
        n = space.sizes[axis]
        assert order.shape == ((n,) if batch is None else (batch, n))
        assert torch.equal(order.sort(-1).values, torch.arange(n).expand_as(order))


def test_one_seed_is_one_element():
    (g,), (h,) = (elements(WeightSpace.mlp([1, 30, 30, 1]), 5, 3) for _ in range(2))
    assert_same_element(g, h)


def test_a_generator_given_is_the_only_source_of_randomness():
    space, generator = WeightSpace.mlp([1, 30, 1]), rng(5)
    before = torch.get_rng_state()
    first, second = (random_permutation(space, generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first["n1"], second["n1"])


def test_every_element_is_drawn_about_as_often():
    draws = 12_000
    (g,) = elements(WeightSpace.mlp([1, 2, 3, 1]), 0, draws)
    counts = Counter(map(tuple, torch.cat([g["n1"], g["n2"]], dim=1).tolist()))
    p = 1 / (math.factorial(2) * math.factorial(3))
    assert len(counts) * p == 1
    five_sigma = 5 * math.sqrt(draws * p * (1 - p))
    assert all(abs(count - draws * p) < five_sigma for count in counts.values())
