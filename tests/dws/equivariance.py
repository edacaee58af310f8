"""Cases, oracles and assertions shared by the tests of ``dws``.

The oracles know a space only as names, axes and sizes: they share no code with the package.
"""

from itertools import combinations, permutations, product

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch.func import functional_call, vmap

from dws import WeightSpace, act, random_permutation

# the same examples each time and no deadline: neither luck nor time decides a test
PROPERTY = settings(deadline=None, max_examples=25, derandomize=True, database=None)

# Spaces that no MLP has; equal sizes where a mix-up of axes must not show as a wrong shape.
HAND_BUILT = {
    "kernel with taps last": WeightSpace(
        {
            "K1": ("c1", "c0", "taps"),
            "b1": ("c1",),
            "K2": ("c2", "c1", "taps"),
            "b2": ("c2",),
            "W3": ("out", "c2"),
            "b3": ("out",),
        },
        {"c0": 1, "c1": 3, "c2": 3, "taps": 2, "out": 2},
        ("c1", "c2"),
    ),
    "fixed axis between hidden ones": WeightSpace(
        {"K": ("p", "taps", "q"), "b": ("q",)}, {"p": 3, "q": 3, "taps": 2}, ("p", "q")
    ),
    "one pair of hidden axes in two orders": WeightSpace(
        {"A": ("p", "q"), "B": ("q", "p"), "a": ("p",), "f": ("k",)},
        {"p": 3, "q": 3, "k": 2},
        ("p", "q"),
    ),
    "two orders and two sizes": WeightSpace(
        {"A": ("p", "q"), "B": ("q", "k", "p")}, {"p": 2, "q": 4, "k": 2}, ("q", "p")
    ),
    "three hidden axes in one tensor": WeightSpace(
        {"T": ("p", "q", "r"), "U": ("r", "k", "p"), "v": ("q",)},
        {"p": 2, "q": 3, "r": 3, "k": 2},
        ("p", "q", "r"),
    ),
    "permutable inputs and outputs": WeightSpace(
        WeightSpace.mlp([3, 3, 3]).axes, WeightSpace.mlp([3, 3, 3]).sizes, ("n0", "n1", "n2")
    ),
}

SPACES = {
    **{
        "-".join(map(str, widths)): WeightSpace.mlp(widths)
        for widths in ([2, 3], [2, 5, 3], [2, 4, 4, 1], [1, 3, 1, 2], [2, 3, 3, 3, 2])
    },
    **HAND_BUILT,
}


def widths(hidden=(1, 4), outer=(1, 3), depth=(0, 3)):
    """Strategy for the widths of an MLP: bounds of the hidden and outer widths and of the depth."""
    outside = st.integers(*outer)
    inside = st.lists(st.integers(*hidden), min_size=depth[0], max_size=depth[1])
    return st.tuples(outside, inside, outside).map(lambda w: [w[0], *w[1], w[2]])


seeds = st.integers(0, 2**31)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_features(space, m, c, generator, dtype=torch.float64):
    return {
        name: torch.randn(m, *shape, c, generator=generator, dtype=dtype)
        for name, shape in space.shapes.items()
    }


# --- oracles ------------------------------------------------------------------------------------


def group_elements(space):
    """Every element of the group, as orders in plain tuples."""
    orders = [tuple(permutations(range(space.sizes[axis]))) for axis in space.hidden]
    return [dict(zip(space.hidden, choice, strict=True)) for choice in product(*orders)]


def moved(space, g):
    """For each position of the flat vector, the position its weight had before g acted."""
    places = [
        (name, index)
        for name, axes in space.axes.items()
        for index in product(*(range(space.sizes[axis]) for axis in axes))
    ]
    number = {place: i for i, place in enumerate(places)}
    return [
        number[
            name,
            tuple(
                int(g[axis][i]) if axis in g else i
                for axis, i in zip(space.axes[name], index, strict=True)
            ),
        ]
        for name, index in places
    ]


def traces(space):
    """Traces of the permutation matrices of the flat vector, one per element of the group."""
    return [
        sum(i == j for i, j in enumerate(moved(space, element)))
        for element in group_elements(space)
    ]


def subsets(items):
    return [chosen for k in range(len(items) + 1) for chosen in combinations(items, k)]


def rank_of_maps(layer, networks=None, seed=0):
    """Rank of the outputs that each weight of a layer alone makes, and the number of weights.

    Outputs on random networks: the rank cannot exceed that of the maps themselves, so that where it
    reaches the number of weights the maps are independent. With as many ``networks`` as one has
    weights, it is the rank of the maps. By default there are a few more than there are averages
    over whole orbits: each network shows how a layer mixes one set of them.
    """
    matrices = {name: p for name, p in layer.named_parameters() if p.ndim == 2}
    count = sum(p.numel() for p in matrices.values())
    per_orbit = layer.in_channels * sum(map(layer.space.fixed_size, layer.space.names))
    networks = networks or per_orbit + 2
    features = random_features(layer.space, networks, layer.in_channels, rng(seed))
    sizes = [p.numel() for p in matrices.values()]
    one_each = torch.eye(count, dtype=torch.float64).split(sizes, 1)
    weights = {
        name: columns.reshape(count, *p.shape)
        for (name, p), columns in zip(matrices.items(), one_each, strict=True)
    }

    def outputs(weights):
        out = functional_call(layer, weights, (features,))
        return torch.cat([x.flatten() for x in (out.values() if isinstance(out, dict) else [out])])

    return int(torch.linalg.matrix_rank(vmap(outputs)(weights))), count


# --- assertions ---------------------------------------------------------------------------------


def assert_same(got, expected, tolerance):
    """Each tensor within ``tolerance`` of the expected one, relative to the scale of the latter."""
    assert got.keys() == expected.keys()
    for name, x in expected.items():
        scale = max(1.0, x.abs().max().item())
        error = (got[name] - x).abs().max().item()
        assert error <= tolerance * scale, f"tensor {name}: off by {error:.3g} at scale {scale:.3g}"


def assert_equivariant(f, space, channels, tolerance=1e-10, dtype=torch.float64, networks=6):
    """``f(act(g, x)) = act(g, f(x))`` for random networks, each with a permutation of its own."""
    generator = rng(1)
    x = random_features(space, networks, channels, generator, dtype)
    g = random_permutation(space, generator, batch=networks)
    with torch.no_grad():
        assert_same(f(act(space, g, x)), act(space, g, f(x)), tolerance)


def assert_invariant(f, space, channels, tolerance=1e-10, dtype=torch.float64, networks=6):
    """``f(act(g, x)) = f(x)`` for random networks, each with a permutation of its own."""
    generator = rng(1)
    x = random_features(space, networks, channels, generator, dtype)
    g = random_permutation(space, generator, batch=networks)
    with torch.no_grad():
        assert_same({"output": f(act(space, g, x))}, {"output": f(x)}, tolerance)
