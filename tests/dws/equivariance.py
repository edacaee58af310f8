"""Cases, oracles and assertions shared by the tests of ``dws``.

The oracles know a space only as names, axes and sizes: they share no code with the package.
"""

from dataclasses import replace
from itertools import combinations, permutations, product

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn
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
    "permutable inputs and outputs": WeightSpace.mlp([3, 3, 3]).permutable("n0", "n2"),
    "an MLP without biases": WeightSpace.mlp([2, 3, 3, 2], bias=False),
    "a CNN, flattened": WeightSpace.from_module(
        nn.Sequential(
            *(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten()),  # of two pixels
            *(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 1)),
        )
    ),
    "a CNN, globally pooled": WeightSpace.from_module(
        nn.Sequential(
            *(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Conv1d(3, 3, 2, bias=False), nn.ReLU()),
            *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)),
        )
    ),
    "a skip connection": WeightSpace(  # h + W2 relu(W1 h): both ends are one axis
        {
            **{"W0": ("h", "in"), "b0": ("h",), "W1": ("k", "h"), "b1": ("k",)},
            **{"W2": ("h", "k"), "b2": ("h",), "W3": ("out", "h"), "b3": ("out",)},
        },
        {"in": 2, "h": 3, "k": 3, "out": 2},
        ("h", "k"),
    ),
}

# Spaces where a tensor has an axis twice, or an axis is nested in another. Each hidden axis is at
# least as long as it has occurrences in two tensors together, so that all terms are independent.
REPEATED = {
    "a recurrent matrix and a bias": WeightSpace({"W": ("h", "h"), "b": ("h",)}, {"h": 4}, ("h",)),
    "an Elman RNN": WeightSpace(
        {
            **{"Wx": ("h", "in"), "Wh": ("h", "h"), "bx": ("h",), "bh": ("h",)},
            **{"Wy": ("out", "h"), "by": ("out",)},
        },
        {"in": 2, "h": 4, "out": 2},
        ("h",),
    ),
    "an LSTM": WeightSpace(
        {
            **{"Wx": ("gate", "h", "in"), "Wh": ("gate", "h", "h"), "bx": ("gate", "h")},
            **{"bh": ("gate", "h"), "Wy": ("out", "h")},
        },
        {"in": 1, "gate": 4, "h": 4, "out": 1},
        ("h",),
    ),
    "a residual CNN with batch norm": WeightSpace(
        {
            **{"K0": ("h", "in", "taps"), "scale0": ("h",), "shift0": ("h",)},
            **{"K1": ("h", "h", "taps"), "scale1": ("h",), "shift1": ("h",)},
            **{"W": ("out", "h"), "mean0": ("h",), "var0": ("h",), "mean1": ("h",)},
            **{"var1": ("h",)},
        },
        {"in": 1, "h": 4, "taps": 2, "out": 2},
        ("h",),
    ),
    "attention with two heads": WeightSpace(
        {
            **{"Q": ("head", "d", "e"), "q": ("head", "d"), "K": ("head", "d", "e")},
            **{"V": ("head", "v", "e"), "O": ("e", "head", "v"), "o": ("e",)},
        },
        {"head": 2, "d": 2, "v": 2, "e": 2},
        ("head", "d", "v", "e"),
        {"d": "head", "v": "head"},
    ),
    "tied layers": WeightSpace(  # one matrix from h to h, used again and again; the embedding too
        {"E": ("word", "h"), "W": ("h", "h"), "b": ("h",), "c": ("word",)},
        {"word": 2, "h": 4},
        ("h",),
    ),
    "a matrix in each head": WeightSpace(
        {"M": ("head", "d", "d"), "b": ("head", "d"), "a": ("head",)},
        {"head": 2, "d": 4},
        ("head", "d"),
        {"d": "head"},
    ),
    "an axis twice around another": WeightSpace(
        {"T": ("h", "k", "taps", "h"), "A": ("k", "h")}, {"h": 4, "k": 2, "taps": 2}, ("h", "k")
    ),
    "an axis three times": WeightSpace({"T": ("h", "h", "h")}, {"h": 6}, ("h",)),
}

# Other spaces to map to, by the names that the tests give them.
TARGETS = {
    "each neuron": lambda space: space.neurons,
    "the network": lambda space: WeightSpace({"vector": ("entry",)}, {"entry": 2}, ()),
    "pairs of neurons": lambda space: WeightSpace(
        {"pair": ("n2", "two", "n1"), "own": ("n1",)},
        {"n1": space.sizes["n1"], "n2": space.sizes["n2"], "two": 2},
        ("n1", "n2"),
    ),
    "an axis of its own": lambda space: WeightSpace(
        {"t": ("n1", "new")}, {"n1": space.sizes["n1"], "new": 3}, ("n1", "new")
    ),
}

SPACES = {
    **{
        "-".join(map(str, widths)): WeightSpace.mlp(widths)
        for widths in ([2, 3], [2, 5, 3], [2, 4, 4, 1], [1, 3, 1, 2], [2, 3, 3, 3, 2])
    },
    **HAND_BUILT,
}
ALL_SPACES = {**SPACES, **REPEATED}


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


def randomised(layer, seed=0):
    """The layer with every weight and bias drawn anew, so that no special start hides an error."""
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=rng(seed))
    return layer


def of_known_kind(space):
    """The space with kinds: a tensor of one axis is a bias, any other one a weight."""
    kinds = {t: "bias" if len(axes) == 1 else "weight" for t, axes in space.axes.items()}
    return replace(space, kinds=kinds)


# --- oracles ------------------------------------------------------------------------------------


def group_elements(*spaces):
    """Every element of the group of a space, or of two that share axes, as orders in tuples."""
    parents = {axis: parent for space in spaces for axis, parent in space.parents.items()}
    sizes = {axis: n for space in spaces for axis, n in space.sizes.items()}
    hidden = list(dict.fromkeys(axis for space in spaces for axis in space.hidden))

    def orders(axis, above):
        if above:  # one for each entry of the outermost axis that it is nested in
            return tuple(product(orders(axis, above[1:]), repeat=sizes[above[0]]))
        return tuple(permutations(range(sizes[axis])))

    choices = [orders(axis, lineage(parents, axis)[:-1]) for axis in hidden]
    return [dict(zip(hidden, choice, strict=True)) for choice in product(*choices)]


def lineage(parents, axis):
    """The axes that an axis is nested in, the outermost first, and itself."""
    return (*lineage(parents, parents[axis]), axis) if axis in parents else (axis,)


def owner(space, axes, position):
    """Position of the parent of the axis at a position: the nearest before it."""
    parent = space.parents.get(axes[position])
    return max((i for i in range(position) if axes[i] == parent), default=None)


def moved(space, g):
    """For each position of the flat vector, the position its weight had before g acted."""
    places = [
        (name, index)
        for name, axes in space.axes.items()
        for index in product(*(range(space.sizes[axis]) for axis in axes))
    ]
    number = {place: i for i, place in enumerate(places)}

    def before(axes, index, position):
        if axes[position] not in g:
            return index[position]
        order, above = g[axes[position]], owner(space, axes, position)
        within = []
        while above is not None:
            within, above = [index[above], *within], owner(space, axes, above)
        for i in (*within, index[position]):
            order = order[i]
        return int(order)

    return [
        number[name, tuple(before(axes, index, k) for k in range(len(index)))]
        for name, index in places
        for axes in [space.axes[name]]
    ]


def partitions(space, axes):
    """Every partition of positions of axes such that tied ones are of one axis and one parent."""
    found = [[]]
    for i in sorted(range(len(axes)), key=lambda i: len(lineage(space.parents, axes[i]))):
        longer = []
        for ties in found:
            of = {k: tie for tie in ties for k in tie}
            for tie in ties:
                mine, theirs = (owner(space, axes, k) for k in (i, min(tie)))
                if axes[i] == axes[min(tie)] and of.get(mine) == of.get(theirs):
                    longer.append([t for t in ties if t != tie] + [tie | {i}])
            longer.append([*ties, frozenset({i})])
        found = longer
    return {frozenset(ties) for ties in found}


def traces(space, elements=None):
    """Traces of the permutation matrices of the flat vector, one per element of the group."""
    return [
        sum(i == j for i, j in enumerate(moved(space, element)))
        for element in (group_elements(space) if elements is None else elements)
    ]


def subsets(items):
    return [chosen for k in range(len(items) + 1) for chosen in combinations(items, k)]


def rank_of_maps(layer, networks=None, seed=0):
    """Rank of the outputs that each weight of a layer alone makes, and the number of weights.

    Outputs on random networks: the rank cannot exceed that of the maps themselves, so that where it
    reaches the number of weights the maps are independent. With as many ``networks`` as one has
    weights, it is the rank of the maps. By default there are a few more than the widest matrix has
    columns: each network shows how a layer mixes one set of averages.
    """
    matrices = {name: p for name, p in layer.named_parameters() if p.ndim == 2}
    count = sum(p.numel() for p in matrices.values())
    networks = networks or max(p.shape[1] for p in matrices.values()) + 2
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


def by_attention(space, name, x, kept, scores):
    """One tensor averaged over its hidden axes that are not kept, by a softmax of scores.

    The axes go one after the other, in the tensor's order; each set of those that are left has a
    score vector of its own.
    """
    axes = list(space.axes[name])
    for axis in [a for a in axes if a in space.hidden and a not in kept]:
        left = "*".join(a for a in axes if a in space.hidden)
        sizes = [1 if a in space.hidden else space.sizes[a] for a in axes]
        fixed = [1 + i for i, a in enumerate(axes) if a not in space.hidden]
        logits = (x * scores[f"{name}:{left}"].reshape(*sizes, -1)).sum([*fixed, -1], keepdim=True)
        dim = 1 + axes.index(axis)
        weights = logits.exp() / logits.exp().sum(dim, keepdim=True)
        x = (x * weights).sum(dim)
        axes.remove(axis)
    return x


# --- assertions ---------------------------------------------------------------------------------


def assert_same(got, expected, tolerance):
    """Each tensor within ``tolerance`` of the expected one, relative to the scale of the latter."""
    assert got.keys() == expected.keys()
    for name, x in expected.items():
        assert got[name].shape == x.shape, name
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
