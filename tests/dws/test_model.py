"""DWSNet: symmetry from end to end, inputs, outputs, parts, errors."""

import copy
import re

import pytest
import torch
from equivariance import (
    SPACES,
    assert_invariant,
    assert_same,
    random_features,
    randomised,
    rng,
)
from models import OPTIONS, POOLS, SPACE, flat, kinds, model, uneven_weights
from torch import nn

from dws import DWSNet, WeightSpace, act, random_permutation


def permuted(space, g, out):
    """An output as it should be for weights on which g has acted."""
    if not isinstance(out, dict):
        return {"output": out}
    return act(space if out.keys() == space.axes.keys() else space.neurons, g, out)


def assert_symmetric(net, space, channels=1, networks=6, tolerance=1e-10):
    generator = rng(1)
    x = random_features(space, networks, channels, generator)
    g = random_permutation(space, generator, batch=networks)
    with torch.no_grad():
        out, after = net(x), net(act(space, g, x))
        after = after if isinstance(after, dict) else {"output": after}
        assert_same(after, permuted(space, g, out), tolerance)


# --- symmetry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@kinds
def test_output_has_the_symmetry_promised(output, norm, residual, pool, training):
    net = model(output, norm=norm, residual=residual, pool=pool).train(training)
    assert_symmetric(net, SPACE)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@kinds
def test_options_keep_the_symmetry(output, options):
    assert_symmetric(randomised(model(output, **options)), SPACE, tolerance=1e-9)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@kinds
def test_other_spaces_have_the_symmetry(output, space):
    if "per_neuron" in output and not space.hidden:
        return
    torch.manual_seed(0)
    assert_symmetric(DWSNet(space, hidden_channels=4, layers=2, **output).double(), space)


@kinds
def test_symmetry_with_channels(output):
    assert_symmetric(model(output, in_channels=2), SPACE, 2)


def test_permutations_of_inputs_are_told_apart_also_where_they_are_permutable():
    net = model({"out_features": 3}, permute=("n0",))
    with pytest.raises(AssertionError, match="off by"):
        assert_invariant(net, SPACE.permutable("n0"), 1, tolerance=1e-3)


@pytest.mark.parametrize("pool", POOLS)
@kinds
def test_output_depends_on_the_weights(output, pool):
    out = flat(model(output, pool=pool)(uneven_weights(6)))
    assert (out.std(dim=0) > 1e-3).all()


@kinds
def test_networks_of_a_batch_do_not_see_each_other(output):
    net, theta = model(output, norm="layer", heads=2), uneven_weights(6)
    torch.testing.assert_close(flat(net(theta))[2:4], flat(net(theta[2:4])))


# --- inputs and outputs -------------------------------------------------------------------------


def test_invariant_output_is_a_vector_per_network():
    assert model({"out_features": 7})(uneven_weights(6)).shape == (6, 7)


def test_equivariant_output_is_features_of_the_space():
    out = model({"out_channels": 7})(uneven_weights(6))
    assert {name: x.shape for name, x in out.items()} == {
        name: (6, *shape, 7) for name, shape in SPACE.shapes.items()
    }


def test_per_neuron_output_is_a_vector_for_each_neuron():
    out = model({"per_neuron": 7})(uneven_weights(6))
    assert {axis: x.shape for axis, x in out.items()} == {"n1": (6, 5, 7), "n2": (6, 4, 7)}


def test_identity_starts_as_the_identity_and_learns():
    net, theta = model({"out_channels": 1}, identity=True, project={"n0": 1}), uneven_weights(6)
    assert torch.equal(SPACE.flatten(net(theta)), theta)
    SPACE.flatten(net(theta)).square().sum().backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad
    changed = SPACE.flatten(net(theta)) != theta
    assert all(x.any() for x in SPACE.split(changed).values())


def test_identity_counts_changes_in_the_deviations_of_the_weights():
    """A head that is the constant 1 changes each weight by one standard deviation."""
    net, theta = model({"out_channels": 1}, identity=True), uneven_weights(6)
    nn.init.ones_(net.head.biases)
    change = SPACE.split(SPACE.flatten(net(theta)) - theta)
    for name, x in change.items():
        torch.testing.assert_close(x, getattr(net.standardize, f"std_{name}").expand_as(x))


@kinds
def test_flat_weights_and_their_tensors_are_one_input(output):
    net, theta = model(output), uneven_weights(6)
    assert torch.equal(flat(net(theta)), flat(net(SPACE.split(theta))))


@kinds
def test_flat_weights_may_have_an_axis_of_one_channel(output):
    net, theta = model(output), uneven_weights(6)
    assert torch.equal(flat(net(theta)), flat(net(theta.unsqueeze(-1))))


@kinds
def test_flat_channels_and_their_tensors_are_one_input(output):
    net = model(output, in_channels=2)
    features = random_features(SPACE, 6, 2, rng())
    assert torch.equal(flat(net(SPACE.flatten(features))), flat(net(features)))


def test_the_input_is_left_as_it_was():
    net, features = model({"out_channels": 1}, residual=True), SPACE.split(uneven_weights(6))
    before = copy.deepcopy(features)
    net(features)
    assert features.keys() == before.keys()
    assert all(torch.equal(features[name], x) for name, x in before.items())


@kinds
def test_statistics_of_the_weights_are_taken_out(output):
    """Scaled and shifted weights, with statistics to match, are the same input."""
    net, theta = model(output), uneven_weights(20)
    before = flat(net(theta))
    net.standardize.fit(5 * theta + 2)
    torch.testing.assert_close(flat(net(5 * theta + 2)), before)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("both", [{}, {"out_features": 1, "out_channels": 1}], ids=["none", "both"])
def test_exactly_one_kind_of_output_is_asked_for(both):
    with pytest.raises(ValueError, match=r"give one of out_features .*, out_channels .* per_neur"):
        DWSNet(SPACE, **both)


COUNTS = [
    {"layers": 0, "out_features": 1},
    {"hidden_channels": 0, "out_features": 1},
    {"in_channels": 0, "out_features": 1},
    {"out_features": 0},
    {"out_channels": 0},
    {"per_neuron": 0},
]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_sizes_below_one_are_refused_by_name(counts):
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        DWSNet(SPACE, **counts)


VECTOR = {"out_features": 1}
REFUSED = {
    "identity of other channels": ({"out_channels": 2, "identity": True}, "out_channels=1, got 2"),
    "identity of a vector": ({**VECTOR, "identity": True}, "out_channels=1, got None"),
    "probes of channels": ({**VECTOR, "probes": 2, "in_channels": 2}, "got in_channels=2"),
    "probes with projected outputs": (
        {**VECTOR, "probes": 2, "project": {"n3": 2}},
        "probes answer on all of axis n3",
    ),
    "batch norm in pieces": ({**VECTOR, "recompute": 2, "norm": "batch"}, "batch norms would diff"),
    "no hidden channel": ({**VECTOR, "hidden_channels": 0}, "hidden_channels must be 1 or more"),
    "pieces of less than nothing": ({**VECTOR, "recompute": -1}, "got {'recompute': -1}"),
    "fewer frequencies than none": ({**VECTOR, "fourier": -1}, "got {'fourier': -1}"),
    "an unknown norm": ({**VECTOR, "norm": "group"}, "norm 'group' is not known; choose one of n"),
    "an unknown activation": ({**VECTOR, "activation": "sine"}, "activation 'sine' is not known"),
    "an unknown pool": ({**VECTOR, "pool": "min"}, "pool 'min' is not known"),
    "a hidden axis to permute": ({**VECTOR, "permute": ("n1",)}, "not among the fixed axes"),
    "a hidden axis to project": ({**VECTOR, "project": {"n1": 2}}, "not among the fixed axes"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_one_line_refuses(options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        DWSNet(SPACE, **options)
    assert "\n" not in str(caught.value)


def test_no_neuron_has_no_output():
    with pytest.raises(ValueError, match="the MLP 2-3 has no hidden neurons"):
        DWSNet(WeightSpace.mlp([2, 3]), per_neuron=1)


OTHER = WeightSpace.mlp([2, 5, 6, 3])
WIDER = WeightSpace.mlp([4, 5, 4, 3])
DEEPER = WeightSpace.mlp([2, 5, 4, 4, 3])
STRANGERS = {
    "flat weights of another space": (torch.zeros(4, OTHER.size), f"[m, {SPACE.size}]"),
    "tensors of another space": (
        random_features(OTHER, 4, 1, rng()),
        "tensor W2: expected [m, 4, 5, 1], got [4, 6, 5, 1]",
    ),
    "tensors of a space with more inputs": (
        random_features(WIDER, 4, 1, rng()),
        "tensor W1: expected [m, 5, 2, 1], got [4, 5, 4, 1]",
    ),
    "tensors of a deeper space": (
        random_features(DEEPER, 4, 1, rng()),
        "expected the tensors ['W1', 'b1', 'W2', 'b2', 'W3', 'b3'], got ['W1', 'b1', 'W2',",
    ),
    "two channels instead of one": (
        torch.zeros(4, SPACE.size, 2),
        "tensor W1: expected [m, 5, 2, 1], got [4, 5, 2, 2]",
    ),
}


@pytest.mark.parametrize(("weights", "message"), STRANGERS.values(), ids=STRANGERS)
def test_one_line_says_what_is_wrong_with(weights, message):
    with pytest.raises(ValueError, match="expected") as caught:
        model({"out_features": 1})(weights)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
