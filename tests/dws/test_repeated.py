"""Repeated and nested axes: the basis is complete and independent, and the fast executor is it."""

from itertools import product
from statistics import fmean

import pytest
import torch
from equivariance import (
    PROPERTY,
    REPEATED,
    SPACES,
    assert_equivariant,
    assert_invariant,
    assert_same,
    group_elements,
    moved,
    partitions,
    random_features,
    randomised,
    rank_of_maps,
    rng,
    traces,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dws import (
    DWSNet,
    EquivariantLinear,
    InvariantLinear,
    Standardize,
    WeightSpace,
    act,
    compose,
    dimension,
    invariant_dimension,
    inverse,
    random_permutation,
    terms,
)

POOLS = ["mean", "sum", "max", "attention"]
RECURRENT = REPEATED["a recurrent matrix and a bias"]
HEADS = REPEATED["attention with two heads"]

spaces = pytest.mark.parametrize("space", REPEATED.values(), ids=REPEATED)
pools = pytest.mark.parametrize("pool", POOLS)
cases = pytest.mark.parametrize(
    "space", [*REPEATED.values(), SPACES["a skip connection"]], ids=[*REPEATED, "a residual MLP"]
)


def commutant(space):
    """Independent equivariant maps: the mean over the group of squared traces."""
    return fmean(t**2 for t in traces(space))


def layer_of(space, c_in=2, c_out=3, pool="mean", dtype=torch.float64, **options):
    return randomised(EquivariantLinear(space, c_in, c_out, pool, **options).to(dtype))


def occurrences(space, *names):
    return [a for name in names for a in space.axes[name] if a in space.hidden]


def is_long_enough(space):
    """Whether every hidden axis is as long as two tensors have occurrences of it."""
    return all(
        occurrences(space, s, t).count(axis) <= space.sizes[axis]
        for s, t, axis in product(space.names, space.names, space.hidden)
    )


# --- every map, none twice ----------------------------------------------------------------------


def test_a_recurrent_matrix_has_15_maps_to_itself_and_27_with_its_bias():
    matrix = WeightSpace({"W": ("h", "h")}, {"h": 4}, ("h",))
    assert (dimension(matrix), dimension(RECURRENT)) == (15, 27)
    assert (invariant_dimension(matrix), invariant_dimension(RECURRENT)) == (2, 3)


@cases
def test_rank_weights_formula_and_brute_force_count_are_one_number(space):
    rank, weights = rank_of_maps(EquivariantLinear(space, 1, 1, bias=False).double())
    assert rank == weights == dimension(space) == commutant(space)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@spaces
def test_invariant_maps_are_as_many_as_orbits(space, pool):
    rank, weights = rank_of_maps(InvariantLinear(space, 1, 1, pool).double())
    assert rank == weights == invariant_dimension(space) == fmean(traces(space))


@st.composite
def random_spaces(draw):
    """Two tensors over a repeated, a nested and a fixed axis, small enough to count."""
    sizes = {"h": draw(st.integers(2, 4)), "p": draw(st.integers(2, 3)), "d": 2, "f": 2}
    axes = {}
    for name in draw(st.sampled_from([("S",), ("S", "T")])):
        chosen = draw(st.lists(st.sampled_from(["h", "p", "pd", "f"]), min_size=1, max_size=3))
        axes[name] = tuple("".join(chosen))
    used = {a for own in axes.values() for a in own}
    space = WeightSpace(
        axes,
        {a: sizes[a] for a in sorted(used)},
        tuple(a for a in "hpd" if a in used),
        {"d": "p"} if "d" in used else {},
    )
    assume(any(len(set(own)) < len(own) for own in axes.values()) or "d" in used)
    assume(space.size <= 64 and dimension(space) <= 400)
    return space


@settings(PROPERTY, max_examples=10)
@given(random_spaces())
def test_random_spaces_are_complete_and_independent_where_axes_are_long_enough(space):
    layer = EquivariantLinear(space, 1, 1, bias=False).double()
    rank, weights = rank_of_maps(layer, networks=space.size)
    assert rank == commutant(space)
    assert weights == dimension(space)
    assert (weights == rank) or not is_long_enough(space)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_on_an_axis_shorter_than_its_occurrences_fewer_maps_are_independent(n):
    space = WeightSpace({"W": ("h", "h"), "b": ("h",)}, {"h": n}, ("h",))
    rank, _ = rank_of_maps(EquivariantLinear(space, 1, 1, bias=False).double(), space.size)
    assert rank == commutant(space) == {1: 4, 2: 18, 3: 26}[n]
    assert dimension(space) == 27


@cases
def test_there_is_one_term_per_partition_of_the_occurrences_of_source_and_target(space):
    for source, target in product(space.names, repeat=2):
        offset = len(occurrences(space, source))
        found = [
            frozenset(
                [
                    *(
                        frozenset([*s, *(offset + i for i in t)])
                        for s, t in zip(term.gather.kept, term.spread.kept, strict=True)
                    ),
                    *(frozenset(s) for s in term.gather.rest),
                    *(frozenset(offset + i for i in t) for t in term.spread.rest),
                ]
            )
            for term in terms(space)
            if (term.source, term.target) == (source, target)
        ]
        assert len(found) == len(set(found))
        assert set(found) == partitions(space, occurrences(space, source, target))


# --- symmetry -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("heads", [0, 2])
@pools
@spaces
def test_layers_are_equivariant(space, pool, heads, dtype, tolerance):
    layer = layer_of(space, pool=pool, dtype=dtype, heads=heads)
    assert_equivariant(layer, space, 2, tolerance, dtype)


@pools
@spaces
def test_invariant_layers_are_invariant(space, pool):
    layer = randomised(InvariantLinear(space, 2, 3, pool).double())
    assert_invariant(layer, space, 2)


def heads_out_of_line(x):
    """Keys arrive one head further than queries."""
    return {**x, "K": x["K"].roll(1, dims=1)}


def one_entry_for_all_heads(x):
    """Entry 0 of every head stands in for the average of the values."""
    return {**x, "V": x["V"][:, :, :1].expand_as(x["V"])}


@pytest.mark.parametrize("broken", [heads_out_of_line, one_entry_for_all_heads])
def test_the_assertion_fails_on(broken):
    layer = layer_of(HEADS)
    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(lambda x: layer(broken(x)), HEADS, 2)


def test_the_assertion_fails_on_a_diagonal_that_is_not_one():
    layer = layer_of(RECURRENT)
    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(lambda x: layer({**x, "W": x["W"].roll(1, dims=2)}), RECURRENT, 2)


def test_layers_distinguish_networks_that_differ_in_the_order_of_columns_alone():
    larger = WeightSpace({"W": ("h", "k"), "b": ("h",)}, {"h": 4, "k": 4}, ("h", "k"))
    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(layer_of(RECURRENT), larger, 2)


def test_layers_distinguish_networks_whose_heads_have_exchanged_single_entries():
    flat = {"M": ("hd", "d"), "b": ("hd",), "a": ("head",)}
    larger = WeightSpace(flat, {"hd": 8, "d": 4, "head": 2}, ("hd",))
    space = REPEATED["a matrix in each head"]
    layer = layer_of(space)

    def on_flat(x):
        out = layer({name: y.unflatten(1, (2, 4)) if name != "a" else y for name, y in x.items()})
        return {name: y.flatten(1, 2) if name != "a" else y for name, y in out.items()}

    with pytest.raises(AssertionError, match="off by"):
        assert_equivariant(on_flat, larger, 2)


OUTPUTS = {
    "invariant": {"out_features": 3},
    "equivariant": {"out_channels": 3},
    "per neuron": {"per_neuron": 3},
}
OPTIONS = {
    "plain": {},
    "attention": {"pool": "attention", "heads": 2, "norm": "layer", "residual": True},
    "max": {"pool": "max", "norm": "batch", "fourier": 2},
    "sum": {"pool": "sum", "recompute": 2},
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
@spaces
def test_models_are_symmetric(space, output, options, dtype, tolerance):
    torch.manual_seed(0)
    net = DWSNet(space, hidden_channels=4, layers=2, **output, **options).to(dtype)
    net.standardize.fit(3 + torch.randn(9, space.size, generator=rng(2), dtype=dtype))
    x = random_features(space, 6, 1, rng(), dtype)
    g = random_permutation(space, rng(1), batch=6)
    with torch.no_grad():
        before, after = net.eval()(x), net(act(space, g, x))
    if "out_features" in output:
        before, after = {"output": before}, {"output": after}
    else:
        before = act(space if "out_channels" in output else space.neurons, g, before)
    assert_same(after, before, tolerance)


# --- slow reference -----------------------------------------------------------------------------


SUMMARY = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}


def grid(space, way):
    """For each dimension of a tensor its indices on a grid of ties (kept, rest), fixed axes."""
    axes = space.axes[way.tensor]
    hidden = [i for i, a in enumerate(axes) if a in space.hidden]
    groups = [[hidden[o] for o in tie] for tie in (*way.kept, *way.rest)]
    groups += [[i] for i, a in enumerate(axes) if a not in space.hidden]
    lengths = [space.sizes[axes[group[0]]] for group in groups]
    of = {i: k for k, group in enumerate(groups) for i in group}
    indices = torch.meshgrid(*(torch.arange(n) for n in lengths), indexing="ij")
    return [indices[of[i]] for i in range(len(axes))]


def one_term(layer, source, target, x, weight):
    """A term by index: gather, summarise, multiply, write where the target's indices tie."""
    space, kept, fixed = layer.space, len(source.kept), len(layer.space.fixed_axes(source.tensor))
    gathered = x[source.tensor][:, *grid(space, source)]
    for _ in source.rest:  # the first of them is the first to go
        gathered = SUMMARY[layer.pool](gathered, 1 + kept)
    assert gathered.ndim == 2 + kept + fixed
    return written(space, target, gathered.flatten(1 + kept) @ weight.T, layer.out_channels)


def written(space, target, y, c_out):
    """``[m, *kept, F c_out]`` -> zeros of the target's shape with y where its indices tie."""
    ends = [space.sizes[a] for a in space.fixed_axes(target.tensor)]
    y = y.unflatten(-1, (*ends, c_out))
    where = grid(space, target)
    for _ in target.rest:
        y = y.unsqueeze(1 + len(target.kept))
    out = y.new_zeros(len(y), *space.shapes[target.tensor], c_out)
    out[:, *where] = y.expand(-1, *where[0].shape, -1)
    return out


def by_terms(layer, x):
    """The sum over all terms, one after the other."""
    space, c_in, c_out = layer.space, layer.in_channels, layer.out_channels
    out = {name: torch.zeros((), dtype=torch.float64) for name in space.names}
    for block in layer.blocks:
        heights = [space.fixed_size(t.tensor) * c_out for t in block.targets]
        widths = [space.fixed_size(s.tensor) * c_in for s in block.sources]
        rows = layer.weights["*".join(block.alpha) or "*"].split(heights)
        for target, row in zip(block.targets, rows, strict=True):
            for source, weight in zip(block.sources, row.split(widths, 1), strict=True):
                term = one_term(layer, source, target, x, weight)
                out[target.tensor] = out[target.tensor] + term
        if block.alpha == ():
            for target, bias in zip(block.targets, layer.biases.split(heights), strict=True):
                out[target.tensor] = out[target.tensor] + written(space, target, bias[None], c_out)
    return out


@pytest.mark.parametrize("pool", SUMMARY)
@spaces
def test_layers_equal_the_sum_over_all_terms(space, pool):
    layer = layer_of(space, pool=pool)
    x = random_features(space, 3, 2, rng(5))
    assert_same(layer(x), by_terms(layer, x), 1e-12)


def test_an_attention_that_weighs_rows_scores_the_whole_matrix():
    layer = layer_of(RECURRENT, 1, 1, "attention", bias=False)
    x, scores = random_features(RECURRENT, 2, 1, rng()), layer.pooling.scores
    weight = (x["W"] * scores["W:0*1|"]).softmax(1)
    columns = (x["W"] * weight).sum(1)
    way = next(s for b in layer.blocks for s in b.sources if (s.kept, s.rest) == (((1,),), ((0,),)))
    zeros = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    zeros["pooling.scores.W:0*1|"] = scores["W:0*1|"]
    block = next(b for b in layer.blocks if way in b.sources)
    row = [(t.tensor, t.kept) for t in block.targets].index(("b", ((0,),)))
    zeros["weights.h"][row, block.sources.index(way)] = 1.0
    out = torch.func.functional_call(layer, zeros, (x,))
    torch.testing.assert_close(out["b"], columns)


# --- biases and the first weights ---------------------------------------------------------------


@spaces
def test_there_is_one_bias_per_orbit_and_channel(space):
    layer = EquivariantLinear(space, 2, 3).double()
    with torch.no_grad():
        layer.biases.copy_(2.0 ** torch.arange(len(layer.biases)))  # sums of them are all different
        out = layer(space.split(torch.zeros(1, space.size, 2, dtype=torch.float64)))
    values = space.flatten(out).flatten(0, 1).flatten()
    assert len(layer.biases) == 3 * invariant_dimension(space) == len(values.unique())


def moments(width, pool, heads=0, layers=10):
    """Second moments after layers and ReLUs, of the diagonal too."""
    space = WeightSpace(
        {"Wx": ("h", "in"), "Wh": ("h", "h"), "b": ("h",), "Q": ("head", "d", "h")},
        {"h": width, "in": 2, "head": 4, "d": width},
        ("h", "head", "d"),
        {"d": "head"},
    )
    torch.manual_seed(0)
    x = random_features(space, 1, 32, rng(), torch.float32)
    with torch.no_grad():
        for _ in range(layers):
            layer = EquivariantLinear(space, 32, 32, pool, heads=heads)
            x = {name: y.relu() for name, y in layer(x).items()}
    x["diagonal"] = x["Wh"].diagonal(0, 1, 2)
    return {name: y.square().mean().item() for name, y in x.items()}


@pytest.mark.parametrize("width", [4, 32, 128])
@pytest.mark.parametrize(
    ("pool", "heads"), [("mean", 0), ("sum", 0), ("attention", 0), ("mean", 2)], ids=str
)
def test_ten_relu_layers_keep_the_second_moment(pool, heads, width):
    found = moments(width, pool, heads)
    assert {name: m for name, m in found.items() if not 0.1 < m < 10} == {}


@pytest.mark.parametrize("width", [4, 32, 128])
def test_ten_relu_layers_keep_the_second_moment_of_a_maximum(width):
    found = moments(width, "max")
    assert {name: m for name, m in found.items() if not 0.1 < m < 200} == {}


# --- the group and the statistics ---------------------------------------------------------------

BATCHES = [(None, None), (None, 5), (5, None), (5, 5)]


@pytest.mark.parametrize("batches", BATCHES, ids=str)
@spaces
def test_acting_twice_is_acting_with_the_composition(space, batches):
    g, h = (random_permutation(space, rng(k), batch) for k, batch in enumerate(batches))
    x = random_features(space, 5, 2, rng())
    assert_same(act(space, compose(g, h, space), x), act(space, g, act(space, h, x)), 0)
    assert_same(act(space, inverse(g, space), act(space, g, x)), x, 0)


@pytest.mark.parametrize("batch", [None, 3])
def test_orders_of_nested_axes_need_their_space(batch):
    g = random_permutation(HEADS, rng(), batch)
    for call in (lambda: compose(g, g), lambda: inverse(g)):
        with pytest.raises(
            ValueError, match="dimensions, as those of nested axes do; give the space"
        ):
            call()


def test_an_order_of_a_nested_axis_has_one_row_per_entry_of_its_parent():
    g = random_permutation(HEADS, rng())
    assert {axis: list(order.shape) for axis, order in g.items()} == {
        **{"head": [2], "d": [2, 2], "v": [2, 2], "e": [2]}
    }
    with pytest.raises(ValueError, match=r"axis d: expected an order \[2, 2\] or \[6, 2, 2\], got"):
        act(HEADS, {**g, "d": g["d"][0]}, random_features(HEADS, 6, 1, rng()))


def test_the_diagonal_has_statistics_of_its_own():
    theta = torch.randn(7, RECURRENT.size, generator=rng(), dtype=torch.float64)
    x = RECURRENT.split(theta)
    x["W"].diagonal(0, 1, 2).mul_(5).add_(3)  # a view of theta
    out = Standardize(RECURRENT).double().fit(theta)(x)["W"]
    away = out[:, ~torch.eye(4, dtype=torch.bool)]
    for part in (out.diagonal(0, 1, 2), away):
        torch.testing.assert_close(part.mean().item(), 0.0)
        torch.testing.assert_close(part.std(correction=0).item(), 1.0)


@spaces
def test_statistics_are_constant_on_orbits_and_commute_with_the_group(space):
    layer = Standardize(space).double()
    layer.fit(torch.randn(5, space.size, generator=rng(), dtype=torch.float64))
    x, g = random_features(space, 4, 2, rng(1)), random_permutation(space, rng(2), batch=4)
    assert_same(layer(act(space, g, x)), act(space, g, layer(x)), 1e-12)


@spaces
def test_one_element_moves_every_network_as_its_matrix_does(space):
    g = random_permutation(space, rng(3))
    theta = torch.randn(4, space.size, 2)
    assert torch.equal(space.flatten(act(space, g, space.split(theta))), theta[:, moved(space, g)])


def test_every_brute_force_element_is_one_of_the_group():
    assert len(group_elements(HEADS)) == 2 * 2**2 * 2**2 * 2


def test_an_axis_nested_in_a_fixed_one_is_refused():
    space = WeightSpace({"W": ("p", "d")}, {"p": 3, "d": 2}, ("d",), {"d": "p"})
    with pytest.raises(
        ValueError, match="axis d is nested in p, which is fixed: give each of the 3"
    ):
        EquivariantLinear(space, 1, 1)
