"""The basis counts every equivariant map once.

By character theory the linear maps that commute with a group of permutation matrices P_g form a
space of dimension mean over g of trace(P_g)^2, and the invariant ones mean of trace(P_g). Between
two spaces it is the mean of the product of their traces. The formula of the package agrees exactly
where every hidden width is 2 or more. With a width of 1 there is nothing to tell "aligned" from
"averaged", so that terms coincide and it counts too many.
"""

from statistics import fmean

import pytest
import torch
from equivariance import (
    HAND_BUILT,
    PROPERTY,
    SPACES,
    TARGETS,
    group_elements,
    rank_of_maps,
    subsets,
    traces,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st

from dws import (
    EquivariantLinear,
    InvariantLinear,
    WeightSpace,
    blocks,
    dimension,
    invariant_dimension,
    terms,
)

DIMENSIONS = {
    (2, 3, 3, 3, 2): 164,
    (2, 32, 32, 1): 75,
    (2, 32, 32, 3): 163,
    (1, 32, 32, 1): 55,
    (2, 32, 1): 41,
    (2, 3, 2): 74,
}
INVARIANT_DIMENSIONS = {(2, 32, 32, 1): 7, (2, 32, 32, 3): 11, (1, 32, 32, 1): 6, (2, 32, 1): 5}
REDUCED = {tuple(min(n, 3) for n in d): count for d, count in DIMENSIONS.items()}


# "1-3-1-2" has a hidden axis of one neuron, where the formula counts too many
SOURCES = {name: space for name, space in SPACES.items() if "n1" in space.hidden}
SOURCES = {name: space for name, space in SOURCES.items() if name not in ("1-3-1-2", "2-5-3")}
PAIRS = {
    f"{source} to {target}": (space, make(space))
    for source, space in SOURCES.items()
    for target, make in TARGETS.items()
    if target != "pairs of neurons" or {"n1", "n2"} <= {*space.hidden}
}

pairs = pytest.mark.parametrize(("space", "target"), PAIRS.values(), ids=PAIRS)


def character_dimension(space, target=None):
    elements = group_elements(space, target or space)
    ours, theirs = traces(space, elements), traces(target or space, elements)
    return fmean(a * b for a, b in zip(ours, theirs, strict=True))


def equivariant(space, c_in=1, c_out=1, pool="mean", target=None):
    return EquivariantLinear(space, c_in, c_out, pool, bias=False, target=target).double()


@pytest.mark.parametrize(("d", "count"), DIMENSIONS.items(), ids=str)
def test_dimension(d, count):
    assert dimension(WeightSpace.mlp(d)) == count


@pytest.mark.parametrize(("d", "count"), INVARIANT_DIMENSIONS.items(), ids=str)
def test_invariant_dimension(d, count):
    assert invariant_dimension(WeightSpace.mlp(d)) == count


# --- against character theory -------------------------------------------------------------------


@pytest.mark.parametrize(("d", "count"), REDUCED.items(), ids=str)
def test_dimension_does_not_depend_on_hidden_widths(d, count):
    assert character_dimension(WeightSpace.mlp(d)) == count


@PROPERTY
@given(widths(hidden=(2, 3)))
def test_dimension_of_mlps_is_that_of_the_commutant(d):
    assert dimension(WeightSpace.mlp(d)) == character_dimension(WeightSpace.mlp(d))


@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_dimension_of_other_spaces_is_that_of_the_commutant(space):
    assert dimension(space) == character_dimension(space)


@pairs
def test_dimension_between_two_spaces_is_that_of_the_maps_that_commute(space, target):
    assert dimension(space, target) == character_dimension(space, target)


def test_maps_to_a_space_without_hidden_axes_are_the_invariant_ones():
    space, vector = SPACES["2-4-4-1"], WeightSpace({"v": ("k",)}, {"k": 1}, ())
    assert dimension(space, vector) == invariant_dimension(space)


@pytest.mark.parametrize("d", [(2, 1, 2), (2, 3, 1, 2)], ids=str)
def test_dimension_counts_too_many_where_a_hidden_width_is_one(d):
    assert dimension(WeightSpace.mlp(d)) > character_dimension(WeightSpace.mlp(d))


@PROPERTY
@given(widths(hidden=(1, 3)))
def test_invariant_dimension_of_mlps_is_the_number_of_orbits(d):
    assert invariant_dimension(WeightSpace.mlp(d)) == fmean(traces(WeightSpace.mlp(d)))


@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_invariant_dimension_of_other_spaces_is_the_number_of_orbits(space):
    assert invariant_dimension(space) == fmean(traces(space))


# --- what is enumerated -------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_there_is_one_term_per_source_target_and_shared_axes(space):
    found = [(t.source, t.target, frozenset(t.alpha)) for t in terms(space)]
    expected = {
        (source, target, frozenset(alpha))
        for source, own in space.axes.items()
        for target in space.axes
        for alpha in subsets([a for a in own if a in space.hidden and a in space.axes[target]])
    }
    assert len(found) == len(set(found))
    assert set(found) == expected


@PROPERTY
@given(widths(hidden=(1, 32), depth=(1, 8)))
def test_an_mlp_of_m_layers_has_2m_minus_2_blocks(d):
    layers = len(d) - 1
    assert len(blocks(WeightSpace.mlp(d))) == 2 * layers - 2


def test_a_single_layer_has_one_block():
    assert [block.alpha for block in blocks(WeightSpace.mlp([2, 3]))] == [()]


# --- the layers reach all of it -----------------------------------------------------------------
# Full rank and equivariance (test_layers) together say: every map, none twice.


@pytest.mark.parametrize("d", [*DIMENSIONS, *REDUCED], ids=str)
def test_every_weight_of_a_layer_is_a_map_of_its_own(d):
    space = WeightSpace.mlp(d)
    rank, weights = rank_of_maps(equivariant(space))
    assert rank == weights == dimension(space)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_every_weight_is_a_map_of_its_own_in_other_spaces(space, pool):
    rank, weights = rank_of_maps(equivariant(space, pool=pool))
    assert rank == weights == dimension(space)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pairs
def test_every_weight_is_a_map_of_its_own_to_other_spaces(space, target, pool):
    rank, weights = rank_of_maps(equivariant(space, pool=pool, target=target))
    assert rank == weights == dimension(space, target)


@PROPERTY
@given(widths(hidden=(2, 4), outer=(1, 2)), st.sampled_from(["mean", "sum"]))
def test_every_weight_is_a_map_of_its_own_at_random_widths(d, pool):
    space = WeightSpace.mlp(d)
    rank, weights = rank_of_maps(equivariant(space, pool=pool))
    assert rank == weights == dimension(space)


@PROPERTY
@given(st.integers(1, 3), st.integers(1, 3))
def test_every_pair_of_channels_has_all_maps(c_in, c_out):
    space = WeightSpace.mlp([2, 3, 1])
    rank, weights = rank_of_maps(equivariant(space, c_in, c_out))
    assert rank == weights == c_in * c_out * dimension(space)


@pytest.mark.parametrize("d", [(2, 1, 2), (2, 3, 1, 2)], ids=str)
def test_a_layer_is_complete_also_where_a_hidden_width_is_one(d):
    space = WeightSpace.mlp(d)
    rank, _ = rank_of_maps(equivariant(space), networks=space.size)
    assert rank == character_dimension(space)


@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_every_weight_of_an_invariant_layer_is_a_map_of_its_own_in_other_spaces(space):
    rank, weights = rank_of_maps(InvariantLinear(space, 1, 1).double())
    assert rank == weights == invariant_dimension(space)


@pytest.mark.parametrize("d", [*INVARIANT_DIMENSIONS, *REDUCED], ids=str)
def test_every_weight_of_an_invariant_layer_is_a_map_of_its_own(d):
    space = WeightSpace.mlp(d)
    rank, weights = rank_of_maps(InvariantLinear(space, 1, 1).double())
    assert rank == weights == invariant_dimension(space)


@PROPERTY
@given(widths(hidden=(1, 4)), st.integers(1, 2), st.integers(1, 3))
def test_invariant_maps_are_independent_at_random_widths_and_channels(d, c_in, out_features):
    space = WeightSpace.mlp(d)
    layer = InvariantLinear(space, c_in, out_features).double()
    rank, weights = rank_of_maps(layer)
    assert rank == weights == c_in * out_features * invariant_dimension(space)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_there_is_one_bias_per_orbit_and_channel(space):
    layer = EquivariantLinear(space, 2, 3)
    zeros = space.split(torch.zeros(1, space.size, 2))
    with torch.no_grad():
        layer.biases.copy_(torch.arange(1, len(layer.biases) + 1))
        out = space.flatten(layer(zeros))
    assert len(layer.biases) == 3 * invariant_dimension(space)
    assert sorted(out.unique().tolist()) == list(range(1, len(layer.biases) + 1))


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "sizes", "hidden"),
    [
        ({"t": ("n1",)}, {"n1": 5}, ("n1",)),
        ({"t": ("n1",)}, {"n1": 3}, ()),
        ({"t": ("n0",)}, {"n0": 2}, ("n0",)),
    ],
    ids=["another size", "no longer hidden", "hidden now"],
)
def test_a_target_that_shares_an_axis_in_name_only_is_refused(axes, sizes, hidden):
    (axis,) = sizes
    with pytest.raises(ValueError, match=f"axis {axis}: .* must agree"):
        blocks(WeightSpace.mlp([2, 3, 1]), WeightSpace(axes, sizes, hidden))
