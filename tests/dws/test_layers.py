"""Linear layers: equivariance, a slow reference, errors."""

import re
from math import prod

import pytest
import torch
from equivariance import (
    PROPERTY,
    SPACES,
    TARGETS,
    assert_equivariant,
    assert_invariant,
    assert_same,
    by_attention,
    random_features,
    randomised,
    rng,
    seeds,
    subsets,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dws import EquivariantLinear, InvariantLinear, WeightSpace, act, random_permutation

POOLS = ["mean", "sum", "max", "attention"]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 0.05}
SPACE = WeightSpace.mlp([2, 4, 3, 1])

precisions = pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items(), ids=str)
pools = pytest.mark.parametrize("pool", POOLS)
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def equivariant(space, c_in=2, c_out=3, pool="mean", dtype=torch.float64, **options):
    return randomised(EquivariantLinear(space, c_in, c_out, pool, **options).to(dtype))


def invariant(space, c_in=2, out_features=3, pool="mean", dtype=torch.float64):
    return randomised(InvariantLinear(space, c_in, out_features, pool).to(dtype))


# --- symmetry -----------------------------------------------------------------------------------


@precisions
@pools
@spaces
def test_equivariant_layers_are_equivariant(space, pool, dtype, tolerance):
    assert_equivariant(equivariant(space, pool=pool, dtype=dtype), space, 2, tolerance, dtype)


@pytest.mark.parametrize("target", ["each neuron", "pairs of neurons"])
@pools
def test_layers_to_other_spaces_are_equivariant(pool, target):
    target = TARGETS[target](SPACE)
    layer, x = equivariant(SPACE, pool=pool, target=target), random_features(SPACE, 6, 2, rng())
    g = random_permutation(SPACE, rng(1), batch=6)
    assert_same(layer(act(SPACE, g, x)), act(target, g, layer(x)), 1e-10)


@pools
def test_a_layer_to_a_space_without_hidden_axes_is_invariant(pool):
    layer = equivariant(SPACE, pool=pool, target=TARGETS["the network"](SPACE))
    assert_invariant(lambda x: layer(x)["vector"], SPACE, 2)


@precisions
@pools
@spaces
def test_invariant_layers_are_invariant(space, pool, dtype, tolerance):
    assert_invariant(invariant(space, pool=pool, dtype=dtype), space, 2, tolerance, dtype)


@pools
@PROPERTY
@given(widths(), seeds)
def test_equivariance_at_random_widths(pool, d, seed):
    space = WeightSpace.mlp(d)
    layer = randomised(EquivariantLinear(space, 1, 2, pool).double(), seed)
    assert_equivariant(layer, space, 1)


def per_coordinate_weight(layer):
    factors = random_features(layer.space, 1, 1, rng(4))
    return lambda x: {name: y * factors[name] for name, y in layer(x).items()}


def per_coordinate_bias(layer):
    shifts = random_features(layer.space, 1, 1, rng(4))
    return lambda x: {name: y + shifts[name] for name, y in layer(x).items()}


def one_source_out_of_line(layer):
    """Along n1, W2 arrives one neuron further than W1 and b1: its block no longer aligns."""
    return lambda x: layer({**x, "W2": x["W2"].roll(1, dims=2)})


def one_neuron_for_all(layer):
    """Neuron 0 of n1 stands in for the average of b1."""
    return lambda x: layer({**x, "b1": x["b1"][:, :1].expand_as(x["b1"])})


BROKEN = [per_coordinate_weight, per_coordinate_bias, one_source_out_of_line, one_neuron_for_all]


@pytest.mark.parametrize("broken", BROKEN)
def test_the_assertion_of_equivariance_fails_on(broken):
    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(broken(equivariant(SPACE)), SPACE, 2)


def test_the_assertion_of_invariance_fails_on_a_plain_linear_layer():
    plain = nn.Linear(2 * SPACE.size, 3).double()
    with pytest.raises(AssertionError, match="off by"):
        assert_invariant(lambda x: plain(SPACE.flatten(x).flatten(1)), SPACE, 2)


LARGER_GROUPS = {
    "one layer's outputs apart from the next one's inputs": WeightSpace(
        {**SPACE.axes, "W2": ("n2", "k1")}, {**SPACE.sizes, "k1": 4}, ("n1", "k1", "n2")
    ),
    "a bias apart from its layer": WeightSpace(
        {**SPACE.axes, "b1": ("k1",)}, {**SPACE.sizes, "k1": 4}, ("n1", "k1", "n2")
    ),
    "the inputs of the network": WeightSpace(SPACE.axes, SPACE.sizes, ("n0", "n1", "n2")),
}


@pools
@pytest.mark.parametrize("larger", LARGER_GROUPS.values(), ids=LARGER_GROUPS)
def test_layers_tell_networks_apart_that_differ_by_a_permutation_of(larger, pool):
    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(equivariant(SPACE, pool=pool), larger, 2)


def test_invariant_layers_tell_networks_apart_that_differ_by_a_permutation_of_inputs():
    with pytest.raises(AssertionError, match="off by"):
        assert_invariant(invariant(SPACE), LARGER_GROUPS["the inputs of the network"], 2)


# --- slow reference -----------------------------------------------------------------------------

SUMMARY = {
    "mean": lambda x, dims: x.mean(dims),
    "sum": lambda x, dims: x.sum(dims),
    "max": lambda x, dims: x.amax(dims),
}


def summarised(layer, name, x, kept):
    """Hidden axes of a tensor that are not kept are summarised; the others stay in its order."""
    space = layer.space
    if layer.pool == "attention":
        return by_attention(space, name, x, kept, layer.pooling.scores)
    dims = [1 + i for i, a in enumerate(space.axes[name]) if a in space.hidden and a not in kept]
    return SUMMARY[layer.pool](x, dims) if dims else x


def reference(layer, x):
    """One product per term: average, keep alpha aligned, multiply, broadcast."""
    space, goal, c_in, c_out = layer.space, layer.target, layer.in_channels, layer.out_channels
    both = {**space.sizes, **goal.sizes}
    letter = {axis: chr(ord("a") + i) for i, axis in enumerate(both)}  # fixed: of the source
    capital = {axis: letter[axis].upper() for axis in both}  # fixed: of the target

    def hidden(space, name):
        return [axis for axis in space.axes[name] if axis in space.hidden]

    def fixed(space, name):
        return [axis for axis in space.axes[name] if axis not in space.hidden]

    def place(space, alpha, name):
        """Entries that come before a tensor's, where those that have alpha are joined."""
        names = [n for n in space.names if alpha <= set(hidden(space, n))]
        return sum(space.fixed_size(n) for n in names[: names.index(name)])

    matrices = {}
    for block in layer.blocks:
        named = "*".join(block.alpha) or "*"
        matrices[frozenset(block.alpha)] = layer.weights[named]
    out = {}
    for target in goal.names:
        total, of_target = 0, fixed(goal, target)
        ends = [goal.sizes[a] for a in of_target]
        for source in space.names:
            of_source = fixed(space, source)
            starts = [space.sizes[a] for a in of_source]
            shared = [a for a in hidden(space, source) if a in hidden(goal, target)]
            for alpha in map(set, subsets(shared)):
                row, column = place(goal, alpha, target), place(space, alpha, source)
                matrix = matrices[frozenset(alpha)][
                    row * c_out : (row + prod(ends)) * c_out,
                    column * c_in : (column + prod(starts)) * c_in,
                ].reshape(*ends, c_out, *starts, c_in)
                average = summarised(layer, source, x[source], alpha)
                kept = [a for a in space.axes[source] if a in alpha or a in of_source]
                wanted = [a for a in goal.axes[target] if a in alpha or a in of_target]
                left = "".join(letter[a] for a in kept)
                right = "".join(capital[a] for a in of_target) + "z"
                right += "".join(letter[a] for a in of_source) + "y"
                end = "".join(letter[a] if a in alpha else capital[a] for a in wanted)
                term = torch.einsum(f"x{left}y,{right}->x{end}z", average, matrix)
                for dim, axis in enumerate(goal.axes[target], start=1):
                    if axis not in wanted:
                        term = term.unsqueeze(dim)
                total = total + term.expand(-1, *goal.shapes[target], -1)
        if layer.biases is not None:
            row = place(goal, set(), target)
            constant = layer.biases[row * c_out : (row + prod(ends)) * c_out]
            shape = [1 if a in goal.hidden else goal.sizes[a] for a in goal.axes[target]]
            total = total + constant.reshape(*shape, c_out)
        out[target] = total
    return out


@pools
@spaces
def test_equivariant_layers_equal_one_product_per_term(space, pool):
    layer = equivariant(space, pool=pool)
    x = random_features(space, 3, 2, rng(5))
    assert_same(layer(x), reference(layer, x), 1e-12)


@pools
@pytest.mark.parametrize("target", TARGETS)
def test_layers_to_other_spaces_equal_one_product_per_term(target, pool):
    layer = equivariant(SPACE, pool=pool, target=TARGETS[target](SPACE))
    x = random_features(SPACE, 3, 2, rng(5))
    assert_same(layer(x), reference(layer, x), 1e-12)


@PROPERTY
@given(widths(), st.integers(1, 3), st.integers(1, 3), st.booleans(), seeds)
def test_equivariant_layers_equal_one_product_per_term_at_random_widths(d, c_in, c_out, bias, seed):
    space = WeightSpace.mlp(d)
    layer = randomised(EquivariantLinear(space, c_in, c_out, bias=bias).double(), seed)
    x = random_features(space, 2, c_in, rng(seed))
    assert_same(layer(x), reference(layer, x), 1e-12)


@pools
@spaces
def test_invariant_layers_equal_one_product_per_tensor(space, pool):
    layer = invariant(space, pool=pool)
    x = random_features(space, 3, 2, rng(5))
    expected, start = layer.linear.bias, 0
    for name in space.names:
        entries = space.fixed_size(name) * 2
        vector = summarised(layer, name, x[name], set()).reshape(3, entries)
        expected = expected + vector @ layer.linear.weight[:, start : start + entries].T
        start += entries
    torch.testing.assert_close(layer(x), expected)


@spaces
def test_biases_are_constant_on_orbits(space):
    zeros = {name: torch.zeros(1, *shape, 2) for name, shape in space.shapes.items()}
    for name, y in equivariant(space, dtype=torch.float32)(zeros).items():
        for dim, axis in enumerate(space.axes[name], start=1):
            if axis in space.hidden:
                assert torch.equal(y, y.narrow(dim, 0, 1).expand_as(y)), (name, axis)


# --- errors -------------------------------------------------------------------------------------

LAYERS = pytest.mark.parametrize("kind", [EquivariantLinear, InvariantLinear])


@LAYERS
def test_an_unknown_pool_is_told_what_is_known(kind):
    with pytest.raises(ValueError, match=r"'median'.*mean, sum, max, attention"):
        kind(SPACE, 2, 3, "median")


@LAYERS
@pytest.mark.parametrize(("counts", "message"), [((0, 3), "in_channels.*0"), ((2, -1), "out_.*-1")])
def test_counts_below_one_are_refused(kind, counts, message):
    with pytest.raises(ValueError, match=message):
        kind(SPACE, *counts)


@LAYERS
def test_features_of_another_space_are_refused_by_tensor(kind):
    x = random_features(WeightSpace.mlp([2, 4, 5, 1]), 3, 2, rng())
    with pytest.raises(ValueError, match=re.escape("W2: expected [m, 3, 4, 2], got [3, 5, 4, 2]")):
        kind(SPACE, 2, 3).double()(x)


@LAYERS
def test_features_of_other_channels_are_refused_by_tensor(kind):
    x = random_features(SPACE, 3, 5, rng())
    with pytest.raises(ValueError, match=re.escape("W1: expected [m, 4, 2, 2], got [3, 4, 2, 5]")):
        kind(SPACE, 2, 3).double()(x)
