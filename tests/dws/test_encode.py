"""What is made of weights before the layers: slow references, symmetry, what is told apart."""

import re
from math import cos, pi, sin

import pytest
import torch
from equivariance import (
    HAND_BUILT,
    PROPERTY,
    SPACES,
    assert_same,
    random_features,
    rng,
    seeds,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dws import (
    FourierFeatures,
    PositionalEncoding,
    ProbeFeatures,
    Projection,
    WeightSpace,
    act,
    forward,
    random_permutation,
)

SPACE = WeightSpace.mlp([2, 4, 3, 3])
TAPS = HAND_BUILT["kernel with taps last"]

spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def assert_commutes(layer, g, x, tolerance=1e-12):
    """``f(act(g, x)) = act(g, f(x))``, where f may change fixed axes or make them permutable."""
    after = {a: g.get(a, torch.arange(layer.target.sizes[a])) for a in layer.target.hidden}
    assert_same(layer(act(layer.space, g, x)), act(layer.target, after, layer(x)), tolerance)


# --- Fourier features ---------------------------------------------------------------------------


@spaces
def test_fourier_features_equal_a_loop_over_weights(space):
    layer = FourierFeatures(space, 2, 3, std=0.5).double()
    for name, x in random_features(space, 2, 2, rng()).items():
        out = layer({**random_features(space, 2, 2, rng(1)), name: x})[name]
        for a, b in zip(x.reshape(-1, 2), out.reshape(-1, 8), strict=True):
            angles = [
                2 * pi * sum(float(a[c]) * float(layer.frequencies[c, k]) for c in range(2))
                for k in range(3)
            ]
            expected = [*a.tolist(), *map(sin, angles), *map(cos, angles)]
            assert b.tolist() == pytest.approx(expected)


def test_frequencies_are_drawn_with_the_deviation_asked_for():
    torch.manual_seed(0)
    assert FourierFeatures(SPACE, 1, 10_000, std=3.0).frequencies.std() == pytest.approx(3, rel=0.1)


def test_frequencies_are_kept_and_not_learned():
    layer = FourierFeatures(SPACE, 1, 3)
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == ["frequencies"]


# --- positional encoding ------------------------------------------------------------------------


def encoding(space, axes, channels=2):
    torch.manual_seed(0)
    return PositionalEncoding(space, 1, axes, channels).double()


ENCODED = {
    "outputs and inputs": (SPACE, ("n3", "n0")),
    "inputs": (SPACE, ("n0",)),
    "taps": (TAPS, ("taps",)),
    "two axes of one tensor": (WeightSpace.mlp([2, 3]), ("n0", "n1")),
}

encoded = pytest.mark.parametrize(("space", "axes"), ENCODED.values(), ids=ENCODED)


@encoded
def test_each_position_has_its_code_after_the_features(space, axes):
    layer, x = encoding(space, axes), random_features(space, 3, 1, rng())
    for name, out in layer(x).items():
        own = space.axes[name]
        for index in torch.cartesian_prod(*(torch.arange(n) for n in space.shapes[name])):
            place = tuple(index.view(-1).tolist())
            expected = [x[name][:, *place]]
            for axis in axes:
                code = torch.zeros(2, dtype=torch.float64)
                if axis in own:
                    code = layer.codes[f"{name}:{axis}"][place[own.index(axis)]]
                expected.append(code.expand(3, 2))
            assert torch.equal(out[:, *place], torch.cat(expected, -1))


@encoded
def test_the_axes_of_the_target_are_permutable(space, axes):
    assert encoding(space, axes).target == space.permutable(*axes)


@encoded
def test_encodings_commute_with_the_group_of_the_space(space, axes):
    x = random_features(space, 4, 1, rng())
    assert_commutes(encoding(space, axes), random_permutation(space, rng(1), batch=4), x)


@encoded
def test_encodings_tell_positions_apart(space, axes):
    """They are no features of the larger group: permuted positions have other codes."""
    layer, x = encoding(space, axes), random_features(space, 4, 1, rng())
    g = {a: torch.arange(space.sizes[a]).roll(1) for a in layer.target.hidden}
    g |= {a: torch.arange(space.sizes[a]) for a in space.hidden}
    with pytest.raises(AssertionError, match="off by"):
        assert_same(layer(act(layer.target, g, x)), act(layer.target, g, layer(x)), 1e-3)


# --- projection ---------------------------------------------------------------------------------


@PROPERTY
@given(widths(outer=(2, 4)), st.integers(1, 2), seeds)
def test_projections_equal_a_product_along_the_axis(d, size, seed):
    space = WeightSpace.mlp(d)
    torch.manual_seed(seed)
    layer, x = Projection(space, "n0", size).double(), random_features(space, 2, 3, rng(seed))
    out = layer(x)
    expected = torch.einsum("mnic,ki->mnkc", x["W1"], layer.matrix)
    assert_same(out, {**x, "W1": expected}, 1e-12)
    assert {name: y.shape[1:-1] for name, y in out.items()} == layer.target.shapes


PROJECTED = {"inputs": (SPACE, "n0"), "outputs": (SPACE, "n3"), "taps": (TAPS, "taps")}

projected = pytest.mark.parametrize(("space", "axis"), PROJECTED.values(), ids=PROJECTED)


@projected
def test_projections_commute_with_the_group(space, axis):
    x = random_features(space, 4, 2, rng())
    g = random_permutation(space, rng(1), batch=4)
    assert_commutes(Projection(space, axis, 1).double(), g, x)


@projected
def test_expansion_is_the_transpose(space, axis):
    """``<P x, y> = <x, P^T y>``"""
    layer, x = Projection(space, axis, 1).double(), random_features(space, 1, 2, rng())
    y = random_features(layer.target, 1, 2, rng(1))
    below, above = layer(x), layer.expand(y)
    changed = [name for name in space.names if axis in space.axes[name]]
    got = sum((below[name] * y[name]).sum() for name in changed)
    torch.testing.assert_close(got, sum((x[name] * above[name]).sum() for name in changed))


def test_a_projection_starts_with_orthonormal_rows():
    matrix = Projection(WeightSpace.mlp([50, 3, 1]), "n0", 7).matrix
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(7))


# --- probes -------------------------------------------------------------------------------------


def probe(space=SPACE, probes=5, activation="sine", w0=3.0):
    torch.manual_seed(0)
    return ProbeFeatures(space, probes, activation, w0).double()


def test_a_module_is_probed_by_its_outputs():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)).eval()
    space = WeightSpace.from_module(module, torch.randn(5, 3))
    layer, theta = ProbeFeatures(space, 6), torch.randn(2, space.size)
    assert layer.target.shapes["p1"] == (2, 6)
    found = layer(theta)["p1"]
    for k in range(2):
        space.load(module, theta[k])
        torch.testing.assert_close(found[k, ..., 0], module(layer.points).T)
    found.sum().backward()
    assert (layer.points.grad != 0).any()


@PROPERTY
@given(widths(hidden=(1, 3)), st.booleans(), seeds)
def test_probes_equal_a_loop_over_networks_and_points(d, bias, seed):
    space = WeightSpace.mlp(d, bias)
    layer = probe(space, 2)
    theta = torch.randn(2, space.size, generator=rng(seed), dtype=torch.float64)
    answers = layer(theta)
    for i in range(2):
        tensors = {name: x[i, ..., 0] for name, x in space.split(theta).items()}
        for k, h in enumerate(layer.points):
            for m in range(1, len(d)):
                h = tensors[f"W{m}"] @ h + tensors.get(f"b{m}", 0)
                h = (3.0 * h).sin() if m < len(d) - 1 else h
                torch.testing.assert_close(answers[f"p{m}"][i, :, k, 0], h)


@pytest.mark.parametrize("activation", ["sine", "relu", "tanh"])
def test_the_last_answers_are_the_networks_outputs(activation):
    layer, theta = probe(activation=activation), torch.randn(4, SPACE.size, dtype=torch.float64)
    outputs = forward(SPACE, theta, layer.points[None], activation, 3.0)
    torch.testing.assert_close(layer(theta)["p3"][..., 0], outputs.transpose(1, 2))


def test_answers_are_permuted_with_the_neurons():
    layer, x = probe(), random_features(SPACE, 4, 1, rng())
    g = random_permutation(SPACE, rng(1), batch=4)
    permuted = act(SPACE, g, x)
    target = act(layer.target, g, {**x, **layer(SPACE.flatten(x))})
    assert_same({**permuted, **layer(SPACE.flatten(permuted))}, target, 1e-12)


def test_points_start_within_the_domain_and_are_learned():
    layer = probe(probes=1000)
    assert layer.points.abs().max() <= 1
    assert layer.points.min() < -0.9
    out = layer(torch.randn(3, SPACE.size, dtype=torch.float64))
    sum(h.square().sum() for h in out.values()).backward()
    assert (layer.points.grad != 0).all()


# --- errors -------------------------------------------------------------------------------------

REFUSED = {
    "no frequency": (lambda: FourierFeatures(SPACE, 1, 0), "count must be 1 or more, got 0"),
    "a code of no channel": (lambda: PositionalEncoding(SPACE, 1, ("n0",), 0), "channels must be"),
    "positions of a hidden axis": (
        lambda: PositionalEncoding(SPACE, 1, ("n1",)),
        "axes ['n1'] are not among the fixed axes ['n0', 'n3']",
    ),
    "a projection of a hidden axis": (
        lambda: Projection(SPACE, "n1", 2),
        "axis 'n1' is not among the fixed axes ['n0', 'n3']",
    ),
    "a projection to more": (
        lambda: Projection(SPACE, "n0", 3),
        "axis n0 has 2 entries; cannot project it to 3",
    ),
    "a projection to nothing": (lambda: Projection(SPACE, "n0", 0), "size of at least 1"),
    "no probe": (lambda: ProbeFeatures(SPACE, 0), "probes must be 1 or more, got 0"),
    "an unknown activation": (lambda: ProbeFeatures(SPACE, 2, "step"), "'step' is not known"),
    "probes of a CNN": (lambda: ProbeFeatures(TAPS, 2), "cannot be probed: expected an MLP"),
    "features of another space": (
        lambda: FourierFeatures(SPACE, 1, 2)(random_features(TAPS, 2, 1, rng())),
        "expected the tensors",
    ),
    "other channels": (
        lambda: PositionalEncoding(SPACE, 1, ("n0",))(random_features(SPACE, 2, 3, rng())),
        "tensor W1: expected [m, 4, 2, 1], got [2, 4, 2, 3]",
    ),
    "a projected axis to be projected": (
        lambda: Projection(SPACE, "n0", 1)(random_features(SPACE.resized("n0", 1), 2, 1, rng())),
        "tensor W1: expected [m, 4, 2, c], got [2, 4, 1, 1]",
    ),
    "a full axis to be expanded": (
        lambda: Projection(SPACE, "n0", 1).expand(random_features(SPACE, 2, 1, rng())),
        "tensor W1: expected [m, 4, 1, c], got [2, 4, 2, 1]",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_one_line_refuses(make, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)
