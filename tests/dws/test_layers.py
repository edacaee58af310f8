"""Linear layers: equivariance, a slow reference, pooling, initialisation, errors."""

import re

import pytest
import torch
from equivariance import (
    PROPERTY,
    SPACES,
    assert_equivariant,
    assert_invariant,
    assert_same,
    random_features,
    rng,
    seeds,
    subsets,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dws import EquivariantLinear, InvariantLinear, WeightSpace

POOLS = ["mean", "sum", "max"]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
SPACE = WeightSpace.mlp([2, 4, 3, 1])

precisions = pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items(), ids=str)
pools = pytest.mark.parametrize("pool", POOLS)
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def randomised(layer, seed=0):
    """The layer with every weight and bias drawn anew, so that no special start hides an error."""
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=rng(seed))
    return layer


def equivariant(space, c_in=2, c_out=3, pool="mean", dtype=torch.float64):
    return randomised(EquivariantLinear(space, c_in, c_out, pool).to(dtype))


def invariant(space, c_in=2, out_features=3, pool="mean", dtype=torch.float64):
    return randomised(InvariantLinear(space, c_in, out_features, pool).to(dtype))


# --- symmetry -----------------------------------------------------------------------------------


@precisions
@pools
@spaces
def test_equivariant_layers_are_equivariant(space, pool, dtype, tolerance):
    assert_equivariant(equivariant(space, pool=pool, dtype=dtype), space, 2, tolerance, dtype)


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


def summarised(x, axes, kept, pool):
    """Axes of a tensor that are not kept are summarised; the others stay in its order."""
    dims = [1 + i for i, axis in enumerate(axes) if axis not in kept]
    return SUMMARY[pool](x, dims) if dims else x


def reference(layer, x):
    """One product per term: average, keep alpha aligned, multiply, broadcast."""
    space, c_in, c_out = layer.space, layer.in_channels, layer.out_channels
    letter = {axis: chr(ord("a") + i) for i, axis in enumerate(space.sizes)}  # fixed: of the source
    capital = {axis: letter[axis].upper() for axis in space.sizes}  # fixed: of the target

    def hidden(name):
        return [axis for axis in space.axes[name] if axis in space.hidden]

    def fixed(name):
        return [axis for axis in space.axes[name] if axis not in space.hidden]

    def sizes(axes):
        return [space.sizes[axis] for axis in axes]

    def place(names, name):
        """Entries that come before a tensor's, where those of ``names`` are joined."""
        return sum(space.fixed_size(n) for n in names[: names.index(name)])

    matrices = {}
    for block in layer.blocks:
        named = "*".join(block.alpha) or "*"
        matrices[frozenset(block.alpha)] = layer.weights[named]
    out = {}
    for target in space.names:
        total = 0
        for source in space.names:
            for alpha in map(set, subsets([a for a in hidden(source) if a in hidden(target)])):
                members = [name for name in space.names if alpha <= set(hidden(name))]
                rows, columns = place(members, target) * c_out, place(members, source) * c_in
                matrix = matrices[frozenset(alpha)][
                    rows : rows + space.fixed_size(target) * c_out,
                    columns : columns + space.fixed_size(source) * c_in,
                ].reshape(*sizes(fixed(target)), c_out, *sizes(fixed(source)), c_in)
                kept = alpha | set(fixed(source))
                average = summarised(x[source], space.axes[source], kept, layer.pool)
                of_source = "".join(letter[a] for a in space.axes[source] if a in kept)
                of_matrix = (
                    "".join(capital[a] for a in fixed(target))
                    + "z"
                    + "".join(letter[a] for a in fixed(source))
                    + "y"
                )
                of_target = "".join(
                    letter[a] if a in alpha else capital[a]
                    for a in space.axes[target]
                    if a in alpha or a in fixed(target)
                )
                term = torch.einsum(f"x{of_source}y,{of_matrix}->x{of_target}z", average, matrix)
                for dim, axis in enumerate(space.axes[target], start=1):
                    if axis not in alpha and axis in hidden(target):
                        term = term.unsqueeze(dim)
                total = total + term.expand(-1, *space.shapes[target], -1)
        if layer.biases is not None:
            rows = place(list(space.names), target) * c_out
            constant = layer.biases[rows : rows + space.fixed_size(target) * c_out]
            total = total + constant.reshape(
                *(1 if a in space.hidden else space.sizes[a] for a in space.axes[target]), c_out
            )
        out[target] = total
    return out


@pools
@spaces
def test_equivariant_layers_equal_one_product_per_term(space, pool):
    layer = equivariant(space, pool=pool)
    x = random_features(space, 3, 2, rng(5))
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
    for name, axes in space.axes.items():
        entries = space.fixed_size(name) * 2
        vector = summarised(x[name], axes, set(axes) - set(space.hidden), pool).reshape(3, entries)
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


# --- pooling ------------------------------------------------------------------------------------


def started(kind, space, pool, seed=3):
    torch.manual_seed(seed)
    return kind(space, 2, 3, pool).double()


@pytest.mark.parametrize("kind", [EquivariantLinear, InvariantLinear])
@spaces
def test_sum_and_mean_pooling_start_as_the_same_map(space, kind):
    # biases too: those of the invariant layer are drawn after its weights
    x = random_features(space, 3, 2, rng())
    by_mean, by_sum = (started(kind, space, pool)(x) for pool in ("mean", "sum"))
    if kind is InvariantLinear:
        by_mean, by_sum = {"output": by_mean}, {"output": by_sum}
    # weights are drawn in float32, so that their division by the counts rounds there
    assert_same(by_sum, by_mean, 1e-5)


def test_max_pooling_is_not_mean_pooling():
    by_mean, by_max = equivariant(SPACE), equivariant(SPACE, pool="max")
    by_max.load_state_dict(by_mean.state_dict())
    x = random_features(SPACE, 3, 2, rng())
    assert all((by_max(x)[name] - by_mean(x)[name]).abs().max() > 0.1 for name in SPACE.names)


def with_entry(x, name, rank, change):
    """The features with one entry of a tensor changed: that of the given rank (-1: the largest)."""
    values = x[name].clone()
    place = values.flatten().argsort()[rank]
    values.view(-1)[place] += change
    return {**x, name: values}


@pytest.mark.parametrize("name", ["b1", "W2", "b2"])
def test_max_pooling_sees_the_largest_entry(name):
    layer, x = invariant(SPACE, c_in=1, pool="max"), random_features(SPACE, 1, 1, rng())
    assert (layer(with_entry(x, name, -1, 0.5)) - layer(x)).abs().max() > 0.01


@pytest.mark.parametrize("name", ["b1", "W2", "b2"])
def test_max_pooling_ignores_entries_below_the_largest(name):
    layer, x = invariant(SPACE, c_in=1, pool="max"), random_features(SPACE, 1, 1, rng())
    assert torch.equal(layer(with_entry(x, name, -2, -0.5)), layer(x))


# --- initialisation -----------------------------------------------------------------------------

BOUNDS = {"mean": (0.02, 20), "sum": (0.02, 20), "max": (0.02, 200)}


@pytest.mark.parametrize("width", [4, 32, 256])
@pools
def test_ten_relu_layers_keep_the_second_moment_of_order_one(pool, width):
    space, c = WeightSpace.mlp([2, width, width, 1]), 16
    torch.manual_seed(0)
    x = random_features(space, 2, c, rng(), torch.float32)
    with torch.no_grad():
        for _ in range(10):
            x = {name: y.relu() for name, y in EquivariantLinear(space, c, c, pool)(x).items()}
    moments = {name: y.square().mean().item() for name, y in x.items()}
    low, high = BOUNDS[pool]
    assert all(low < moment < high for moment in moments.values()), moments


def test_biases_start_at_zero():
    assert not EquivariantLinear(SPACE, 2, 3).biases.any()


# --- errors -------------------------------------------------------------------------------------

LAYERS = pytest.mark.parametrize("kind", [EquivariantLinear, InvariantLinear])


@LAYERS
def test_an_unknown_pool_is_told_what_is_known(kind):
    with pytest.raises(ValueError, match=r"'median'.*mean, sum, max"):
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
