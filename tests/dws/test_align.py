"""Alignment: the same functions, as near to the reference as an order can bring them."""

from importlib import import_module
from itertools import pairwise, permutations

import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dws import WeightSpace, act, forward, inverse, random_permutation
from dws.align import align, match
from tests.dws.equivariance import (
    ALL_SPACES,
    HAND_BUILT,
    PROPERTY,
    REPEATED,
    SPACES,
    group_elements,
    moved,
    rng,
    seeds,
    widths,
)

MODULE = import_module("dws.align")  # as an attribute of dws it is the function

# no two of these hidden axes meet in a tensor, so that each can be solved alone
UNCOUPLED = {
    "2-5-3": WeightSpace.mlp([2, 5, 3]),
    "two heads": WeightSpace(
        {"P": ("p", "k"), "Q": ("k", "q"), "b": ("q",), "c": ("k",)},
        {"p": 3, "q": 4, "k": 2},
        ("p", "q"),
    ),
}
ANY_SPACE = st.sampled_from(list(ALL_SPACES.values())) | widths().map(WeightSpace.mlp)


def gaussian(space, m, seed=0, dtype=torch.float64):
    return torch.randn(m, space.size, generator=rng(seed), dtype=dtype)


def shuffled(space, theta, g):
    return space.flatten(act(space, g, space.split(theta)))


def distance(theta, reference):
    return (theta.double() - reference.double()).norm(dim=1)


def scatter(theta):
    """Mean squared distance to the mean."""
    return distance(theta, theta.mean(0)).square().mean().item()


def assert_orders(got, expected):
    assert got.keys() == expected.keys()
    for axis, order in expected.items():
        assert torch.equal(got[axis], order), f"axis {axis}"


@PROPERTY
@given(widths=widths(), seed=seeds)
def test_the_functions_stay(widths, seed):
    space = WeightSpace.mlp(widths)
    theta, reference = gaussian(space, 4, seed).split([3, 1])
    x = torch.randn(1, 9, widths[0], generator=rng(seed), dtype=torch.float64)
    before = forward(space, theta, x, "tanh")
    after = forward(space, align(space, theta, reference[0]), x, "tanh")
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@PROPERTY
@given(space=ANY_SPACE, seed=seeds)
def test_aligned_weights_are_the_given_ones_in_the_matched_order(dtype, space, seed):
    theta = gaussian(space, 3, seed, dtype)
    reference = gaussian(space, 1, seed + 1, dtype)[0]
    got = align(space, theta, reference)
    assert got.dtype == dtype
    assert torch.equal(got, shuffled(space, theta, match(space, theta, reference)))


@pytest.mark.parametrize("name", ALL_SPACES)
def test_a_match_is_an_order_of_every_hidden_axis(name):
    space = ALL_SPACES[name]
    g = match(space, gaussian(space, 3), gaussian(space, 1)[0])
    shapes = {a: order.shape for a, order in random_permutation(space, rng(), 3).items()}
    every = {a: torch.arange(shape[-1]).expand(shape) for a, shape in shapes.items()}
    assert_orders({a: order.sort(dim=-1).values for a, order in g.items()}, every)


@PROPERTY
@given(space=ANY_SPACE, noise=st.sampled_from([0.1, 1.0, 10.0]), seed=seeds)
def test_no_network_gets_farther(space, noise, seed):
    reference = gaussian(space, 1, seed)[0]
    theta = reference + noise * gaussian(space, 20, seed + 1)
    before, after = distance(theta, reference), distance(align(space, theta, reference), reference)
    assert (after <= before * (1 + 1e-12)).all()


def test_more_sweeps_bring_no_network_farther(monkeypatch):
    space = WeightSpace.mlp([2, 6, 6, 6, 1])
    theta, reference = gaussian(space, 50), gaussian(space, 1, seed=1)[0]
    distances = []
    for sweeps in range(5):
        monkeypatch.setattr(MODULE, "SWEEPS", sweeps)
        distances.append(distance(align(space, theta, reference), reference))
    steps = torch.stack(distances).diff(dim=0)
    assert (steps <= 1e-12).all()
    assert (steps[1:] < -1e-3).any()  # one sweep was not enough: the descent goes on


@pytest.mark.parametrize("name", SPACES)
def test_no_order_of_one_axis_alone_is_nearer(name):
    space = SPACES[name]
    reference = gaussian(space, 1, seed=1)[0]
    theta = align(space, gaussian(space, 200), reference)
    for axis in space.hidden:
        for order in permutations(range(space.sizes[axis])):
            other = theta[:, moved(space, {axis: order})]
            assert (distance(theta, reference) <= distance(other, reference) + 1e-12).all()


@pytest.mark.parametrize("name", UNCOUPLED)
def test_axes_that_share_no_tensor_reach_the_minimum(name):
    space = UNCOUPLED[name]
    theta, reference = gaussian(space, 5), gaussian(space, 1, seed=1)[0]
    best = [distance(theta[:, moved(space, g)], reference) for g in group_elements(space)]
    torch.testing.assert_close(
        distance(align(space, theta, reference), reference), torch.stack(best).amin(0)
    )


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.03])
@pytest.mark.parametrize(
    "space",
    [
        *(WeightSpace.mlp([2, *k * [8], 1]) for k in range(1, 5)),
        WeightSpace.mlp([3, 5, 7, 4, 2], bias=False),
        *HAND_BUILT.values(),
        *REPEATED.values(),
    ],
    ids=str,
)
def test_a_planted_permutation_is_found(space, noise):
    reference = gaussian(space, 1, seed=2)[0]
    near = reference + noise * gaussian(space, 20, seed=1)
    g = random_permutation(space, rng(), batch=20)
    assert_orders(match(space, shuffled(space, near, g), reference), inverse(g, space))


def test_the_first_sweep_tells_the_known_axes_of_a_tensor_apart():
    space = WeightSpace({"T": ("p", "k", "q")}, {"p": 8, "k": 2, "q": 8}, ("p", "q"))
    half = gaussian(space, 1).view(8, 2, 8)[:4]
    # each neuron of p has a twin with the same numbers at the other index of k
    reference = torch.cat([half, half.flip(1)]).flatten()
    g = random_permutation(space, rng(), batch=20)
    theta = shuffled(space, reference.expand(20, -1), g)
    assert_orders(match(space, theta, reference), inverse(g))


def test_heads_are_matched_by_what_is_nested_in_them():
    """Each head of the reference has its entries in another order, so that no entry alone fits."""
    space = WeightSpace(
        {"Q": ("head", "d", "in")}, {"head": 5, "d": 6, "in": 3}, ("head", "d"), {"d": "head"}
    )
    reference = gaussian(space, 1)[0]
    theta = shuffled(space, reference.expand(20, -1), random_permutation(space, rng(), 20))
    assert torch.equal(align(space, theta, reference), reference.expand(20, -1))
    one_by_one = [
        distance(
            theta[:, moved(space, {"head": list(order), "d": [list(range(6))] * 5})], reference
        )
        for order in permutations(range(5))
    ]
    assert torch.stack(one_by_one).amin() > 1


KINDS = {"W": "weight", "b": "bias", "mean": "mean", "var": "variance"}
NORMED = WeightSpace(
    {"W": ("h", "in"), "b": ("h",), "mean": ("h",), "var": ("h",)},
    {"h": 6, "in": 2},
    ("h",),
    kinds=KINDS,
)


def test_running_statistics_move_with_their_neurons_but_are_not_compared():
    reference = gaussian(NORMED, 1)[0]
    g = random_permutation(NORMED, rng(), batch=20)
    x = NORMED.split(shuffled(NORMED, reference.expand(20, -1), g))
    x = {**x, "mean": 1e4 * x["mean"].roll(1, 1), "var": 1e4 * x["var"].roll(2, 1)}
    theta = NORMED.flatten(x)
    assert_orders(match(NORMED, theta, reference), inverse(g))
    aligned, expected = (
        NORMED.split(t)
        for t in (align(NORMED, theta, reference), shuffled(NORMED, theta, inverse(g)))
    )
    assert all(torch.equal(aligned[name], expected[name]) for name in NORMED.names)


def test_an_order_that_gains_nothing_is_left():
    space = WeightSpace.mlp([2, 4, 4, 1])
    g = match(space, gaussian(space, 5), torch.ones(space.size, dtype=torch.float64))
    assert_orders(g, {axis: torch.arange(4).repeat(5, 1) for axis in space.hidden})


@pytest.mark.parametrize(
    ("widths", "each"),
    # per axis: one descent, and where axes are coupled a first sweep and a descent from there
    [([2, 5, 1], 1), ([2, 4, 4, 1], 3 * 2), ([2, 4, 4, 4, 1], 3 * 3)],
    ids=str,
)
def test_a_solved_network_costs_few_assignments(monkeypatch, widths, each):
    solved = []

    def counting(score, maximize):
        solved.append(score)
        return linear_sum_assignment(score, maximize=maximize)

    monkeypatch.setattr(scipy.optimize, "linear_sum_assignment", counting)
    space = WeightSpace.mlp(widths)
    theta = gaussian(space, 7)
    match(space, theta, theta)
    assert len(solved) == 7 * each


# --- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_SPACES)
def test_a_batch_is_one_network_at_a_time(name):
    space = ALL_SPACES[name]
    theta, reference = gaussian(space, 6), gaussian(space, 1, seed=1)[0]
    alone = torch.cat([align(space, row, reference) for row in theta.split(1)])
    assert torch.equal(align(space, theta, reference), alone)


@pytest.mark.parametrize("entries", [1, 150])
def test_chunks_change_nothing(monkeypatch, entries):
    space = WeightSpace.mlp([2, 4, 4, 1])
    theta, references = gaussian(space, 7), gaussian(space, 7, seed=1)
    expected = match(space, theta, references)
    monkeypatch.setattr(MODULE, "CHUNK_ENTRIES", entries)
    assert_orders(match(space, theta, references), expected)


def test_each_network_has_its_own_reference():
    space = WeightSpace.mlp([2, 4, 4, 1])
    theta, references = gaussian(space, 50), gaussian(space, 50, seed=1)
    one_each = [
        align(space, row[None], reference) for row, reference in zip(theta, references, strict=True)
    ]
    assert torch.equal(align(space, theta, references), torch.cat(one_each))


@pytest.mark.parametrize("name", SPACES)
def test_no_networks_are_aligned_to_nothing(name):
    space = SPACES[name]
    none = torch.zeros(0, space.size)
    assert (
        align(space, none).shape
        == align(space, none, torch.zeros(space.size)).shape
        == (0, space.size)
    )


# --- without a reference ------------------------------------------------------------------------


def test_the_mean_of_each_round_is_the_reference_of_the_next():
    space = WeightSpace.mlp([2, 5, 5, 1])
    theta = gaussian(space, 10)
    expected = align(space, theta, theta[0])
    for rounds in range(1, 4):
        assert torch.equal(align(space, theta, rounds=rounds), expected)
        expected = align(space, expected, expected.mean(0))


@PROPERTY
@given(widths=widths(hidden=(2, 6), depth=(1, 3)), seed=seeds)
def test_each_round_gathers_the_networks(widths, seed):
    space = WeightSpace.mlp(widths)
    theta = gaussian(space, 12, seed)
    spread = [scatter(align(space, theta, rounds=k)) for k in range(1, 5)]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(spread))


def test_orders_of_one_network_become_one():
    space = WeightSpace.mlp([2, 8, 8, 8, 1])
    one = gaussian(space, 1)
    theta = shuffled(space, one.expand(9, -1), random_permutation(space, rng(), batch=9))
    assert torch.equal(align(space, theta), theta[:1].expand(9, -1))


# --- errors -------------------------------------------------------------------------------------

MLP = WeightSpace.mlp([2, 3, 1])  # 13 weights


def spoiled(network, value):
    """Four networks, one weight of one of them as told."""
    theta = torch.zeros(4, 13)
    theta[network, 5] = value
    return theta


@pytest.mark.parametrize(
    ("theta", "reference", "message"),
    [
        (torch.zeros(13), torch.zeros(13), r"theta: expected weights \[m, 13\].*got \[13\]"),
        (torch.zeros(4, 12), torch.zeros(13), r"theta: expected weights \[m, 13\].*got \[4, 12\]"),
        (torch.zeros(4, 13), torch.zeros(12), r"reference: .*\[13\] or \[4, 13\].*got \[12\]"),
        (torch.zeros(4, 13), torch.zeros(3, 13), r"reference: .*got \[3, 13\]"),
        (spoiled(2, torch.nan), torch.zeros(13), "theta: network 2 has weights that are NaN"),
        (spoiled(1, torch.inf), torch.zeros(13), "theta: network 1 .* infinite"),
        (torch.zeros(4, 13), spoiled(3, -torch.inf), "reference: network 3 .* infinite"),
    ],
)
@pytest.mark.parametrize("call", [match, align])
def test_it_refuses(call, theta, reference, message):
    with pytest.raises(ValueError, match=message):
        call(MLP, theta, reference)


@pytest.mark.parametrize(
    ("theta", "rounds", "message"),
    [
        (torch.tensor([[0.0], [torch.nan]]).expand(2, 13), 3, "theta: network 1 has weights"),
        (torch.zeros(0, 12), 3, r"theta: expected weights \[m, 13\].*got \[0, 12\]"),
        (torch.zeros(4, 13), 0, "rounds: got 0, expected at least 1"),
    ],
    ids=["NaN", "size", "rounds"],
)
def test_without_a_reference_it_refuses(theta, rounds, message):
    with pytest.raises(ValueError, match=message):
        align(MLP, theta, rounds=rounds)
