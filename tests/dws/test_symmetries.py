"""Random symmetries: other weights, the same functions."""

import pytest
import torch
from hypothesis import given
from torch.nn.functional import conv1d

from dws import WeightSpace, act, forward
from dws.neurons import layers
from dws.symmetries import flip_signs, permute, rescale, shift_phases
from tests.dws.equivariance import HAND_BUILT, PROPERTY, SPACES, of_known_kind, rng, seeds, widths

W0 = 3.0

# what keeps networks of which activation: (space, theta, generator) -> theta
SYMMETRIES = {
    "permutations, sine": (permute, "sine"),
    "permutations, relu": (permute, "relu"),
    "permutations, gelu": (permute, "gelu"),
    "signs, sine": (flip_signs, "sine"),
    "signs, tanh": (flip_signs, "tanh"),
    "phases, sine": (lambda s, t, g: shift_phases(s, t, W0, g), "sine"),
    "phases up to 3, sine": (lambda s, t, g: shift_phases(s, t, W0, g, bound=3), "sine"),
    "scales, relu": (rescale, "relu"),
    "large scales, relu": (lambda s, t, g: rescale(s, t, g, std=2.0), "relu"),
}
# two hidden axes that feed each other and a residual stream: no layer has neurons of its own
CYCLE = of_known_kind(HAND_BUILT["one pair of hidden axes in two orders"])
RESIDUAL = WeightSpace(
    {
        "W1": ("h", "in"),
        "b1": ("h",),
        "U": ("k", "h"),
        "bU": ("k",),
        "V": ("h", "k"),
        "bV": ("h",),
        "W2": ("out", "h"),
    },
    {"in": 2, "h": 4, "k": 4, "out": 1},
    ("h", "k"),
    kinds=dict(zip(("W1", "U", "V", "W2"), ["weight"] * 4, strict=True))
    | dict(zip(("b1", "bU", "bV"), ["bias"] * 3, strict=True)),
)


def random_theta(space, m=5, seed=0):
    return torch.randn(m, space.size, generator=rng(seed), dtype=torch.float64)


def render(space, theta, activation, seed=1):
    x = torch.randn(1, 9, space.widths[0], generator=rng(seed), dtype=torch.float64)
    return forward(space, theta, x, activation, W0)


@pytest.mark.parametrize("case", SYMMETRIES)
@PROPERTY
@given(widths=widths(), seed=seeds)
def test_the_functions_stay(case, widths, seed):
    symmetry, activation = SYMMETRIES[case]
    space = WeightSpace.mlp(widths)
    theta = random_theta(space, seed=seed)
    other = symmetry(space, theta, rng(seed))
    before, after = (render(space, t, activation) for t in (theta, other))
    scale = max(1.0, before.abs().max().item())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("case", SYMMETRIES)
def test_every_network_changes_and_in_its_own_way(case):
    space = WeightSpace.mlp([2, 8, 8, 1])
    theta = random_theta(space, m=1).expand(5, -1)
    other = SYMMETRIES[case][0](space, theta, rng())
    assert len({tuple(row.tolist()) for row in [theta[0], *other]}) == 6


@pytest.mark.parametrize("case", SYMMETRIES)
def test_the_argument_is_left_as_it_was(case):
    space = WeightSpace.mlp([2, 4, 1])
    theta = random_theta(space)
    kept = theta.clone()
    SYMMETRIES[case][0](space, theta, rng())
    assert torch.equal(theta, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", SYMMETRIES)
def test_other_dtypes_get_the_same_draws(case, dtype):
    symmetry, _ = SYMMETRIES[case]
    space = WeightSpace.mlp([2, 4, 1])
    theta = random_theta(space).to(dtype)
    other = symmetry(space, theta, rng(3))
    assert other.dtype == dtype
    exact = symmetry(space, theta.double(), rng(3))
    torch.testing.assert_close(other.double(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("case", SYMMETRIES)
def test_randomness_is_the_generators(case):
    symmetry, _ = SYMMETRIES[case]
    space = WeightSpace.mlp([2, 6, 6, 1])
    theta = random_theta(space)
    torch.manual_seed(1)
    first = symmetry(space, theta, rng(7))
    torch.manual_seed(2)
    assert torch.equal(first, symmetry(space, theta, rng(7)))
    assert not torch.equal(first, symmetry(space, theta, rng(8)))


@pytest.mark.parametrize("symmetry", [flip_signs, rescale])
def test_networks_with_skips_stay_too(symmetry):
    theta = random_theta(RESIDUAL)
    f = {flip_signs: torch.tanh, rescale: torch.relu}[symmetry]
    other = symmetry(RESIDUAL, theta, rng())
    x = torch.randn(9, 2, generator=rng(1), dtype=torch.float64)

    def residual(w):
        h = f(x @ w["W1"].T + w["b1"])
        h = h + f(f(h @ w["U"].T + w["bU"]) @ w["V"].T + w["bV"])
        return h @ w["W2"].T

    def outputs(theta):
        w = {name: t.squeeze(-1) for name, t in RESIDUAL.split(theta).items()}
        return torch.vmap(residual)(w)

    # one sign or scale for the whole stream h, or the sum would not carry it
    torch.testing.assert_close(outputs(other), outputs(theta), rtol=0, atol=1e-11)
    assert not torch.equal(theta, other)


@pytest.mark.parametrize("symmetry", [flip_signs, rescale, permute])
def test_convolutions_stay_too(symmetry):
    space = of_known_kind(HAND_BUILT["kernel with taps last"])
    theta = random_theta(space)
    f = torch.tanh if symmetry is flip_signs else torch.relu
    x = torch.randn(1, 1, 6, generator=rng(1), dtype=torch.float64)

    def outputs(theta):
        w = {name: t.squeeze(-1) for name, t in space.split(theta).items()}
        out = []
        for m in range(len(theta)):
            h = f(conv1d(x, w["K1"][m], w["b1"][m]))
            h = f(conv1d(h, w["K2"][m], w["b2"][m])).mean(2)
            out.append(h @ w["W3"][m].T + w["b3"][m])
        return torch.stack(out)

    other = symmetry(space, theta, rng())
    torch.testing.assert_close(outputs(other), outputs(theta), rtol=0, atol=1e-11)
    assert not torch.equal(theta, other)


@pytest.mark.parametrize("symmetry", [flip_signs, shift_phases, rescale])
def test_inputs_and_outputs_that_may_be_permuted_are_left_alone(symmetry):
    space = HAND_BUILT["permutable inputs and outputs"]
    assert [layer.axis for layer in layers(space)] == ["n1"]
    theta = random_theta(space)
    same = symmetry(WeightSpace.mlp([3, 3, 3]), theta, generator=rng())
    assert torch.equal(symmetry(space, theta, generator=rng()), same)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2-4-4-1", {"n1": (["W1", "b1"], ["W2"]), "n2": (["W2", "b2"], ["W3"])}),
        ("kernel with taps last", {"c1": (["K1", "b1"], ["K2"]), "c2": (["K2", "b2"], ["W3"])}),
        ("fixed axis between hidden ones", {"q": (["b"], ["K"])}),
        (
            "three hidden axes in one tensor",
            {"p": (["T"], ["U"]), "q": (["v"], ["T"]), "r": (["U"], ["T"])},
        ),
    ],
)
def test_what_comes_in_begins_with_the_axis_and_what_goes_out_has_it_later(name, expected):
    found = {
        x.axis: (list(x.incoming), list(x.outgoing)) for x in layers(of_known_kind(SPACES[name]))
    }
    assert found == expected


def test_scaling_gives_new_features():
    space = WeightSpace.mlp([2, 3, 1])
    x = space.split(random_theta(space))
    kept = {name: t.clone() for name, t in x.items()}
    factor = torch.full((5, 3), 2.0, dtype=torch.float64)
    scaled = layers(space)[0].scaled(x, factor, 3 * factor)
    for name, times in {"W1": 2, "b1": 2, "W2": 6, "b2": 1}.items():
        assert torch.equal(x[name], kept[name]), name
        assert torch.equal(scaled[name], times * kept[name]), name


def test_a_share_of_one_negates_every_neuron():
    space = WeightSpace.mlp([2, 4, 3, 1])
    theta = random_theta(space)
    before, after = (space.split(t) for t in (theta, flip_signs(space, theta, rng(), share=1)))
    signs = {"W1": -1, "b1": -1, "W2": 1, "b2": -1, "W3": -1, "b3": 1}
    for name, sign in signs.items():
        assert torch.equal(after[name], sign * before[name]), name
    assert torch.equal(flip_signs(space, theta, rng(), share=0), theta)


def test_shifts_are_uniform_between_the_bounds():
    space = WeightSpace.mlp([1, 1000, 1])
    theta = torch.zeros(1, space.size, dtype=torch.float64)
    b = space.split(shift_phases(space, theta, W0, rng(), bound=2))["b1"]
    k, count = (b * W0 / torch.pi).unique(return_counts=True)
    torch.testing.assert_close(k, torch.arange(-2.0, 3.0, dtype=torch.float64))
    assert count.min() > 150  # of 200 expected, with standard deviation 13


def test_scales_have_the_given_logarithmic_deviation():
    space = WeightSpace.mlp([1, 2000, 1])
    theta = torch.ones(1, space.size, dtype=torch.float64)
    log = space.split(rescale(space, theta, rng(), std=0.3))["b1"].log()
    assert abs(log.mean()) < 0.03
    assert abs(log.std() - 0.3) < 0.02


def test_permutations_are_elements_of_the_group():
    space = WeightSpace.mlp([2, 3, 4, 1])
    theta = random_theta(space, m=1)
    other = permute(space, theta, rng())
    x, y = space.split(theta), space.split(other)
    order = {
        "n1": (y["b1"][0] == x["b1"][0].squeeze(-1)).int().argmax(1),
        "n2": (y["b2"][0] == x["b2"][0].squeeze(-1)).int().argmax(1),
    }
    assert torch.equal(space.flatten(act(space, order, x)), other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, t: flip_signs(s, t, share=1.5), r"share: got 1.5, expected 0 to 1"),
        (lambda s, t: shift_phases(s, t, bound=-1), r"bound: got -1, expected .* 0 or more"),
        (lambda s, t: shift_phases(s, t, bound=1.5), r"bound: got 1.5, expected a whole number"),
        (lambda s, t: shift_phases(s, t, w0=0), r"w0: got 0, expected a positive number"),
        (lambda s, t: rescale(s, t, std=-1), r"std: got -1, expected 0 or more"),
        (lambda s, t: permute(s, t.unsqueeze(-1)), r"expected weights \[m, 17\], got \[5, 17, 1\]"),
        (lambda s, t: rescale(s, t[:, 1:]), r"expected weights \[m, 17\].*, got \[5, 16\]"),
        (
            lambda s, t: shift_phases(WeightSpace.mlp([2, 4, 1], bias=False), t[:, :12]),
            r"axis n1 has 0 biases, expected one",
        ),
        (
            lambda s, t: shift_phases(RESIDUAL, random_theta(RESIDUAL)),
            r"axis h is the output of 2 layers \(W1, V\), as where a connection skips layers",
        ),
    ],
)
def test_what_cannot_be_done_is_told(call, message):
    space = WeightSpace.mlp([2, 4, 1])
    with pytest.raises(ValueError, match=message):
        call(space, random_theta(space))
