"""DWSNet: symmetry from end to end, inputs, state, errors."""

import copy
import io
import pickle

import pytest
import torch
from equivariance import assert_equivariant, assert_invariant, random_features, rng
from torch import nn

from dws import DWSNet, EquivariantLinear, WeightSpace
from dws.model import EquivariantBlock

SPACE = WeightSpace.mlp([2, 5, 4, 3])
OUTPUTS = {"invariant": {"out_features": 3}, "equivariant": {"out_channels": 3}}

kinds = pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)


def uneven_weights(m, seed=0):
    """Weights whose mean and scale differ from coordinate to coordinate."""
    generator = rng(seed)
    scale, shift = torch.randn(2, SPACE.size, generator=generator, dtype=torch.float64)
    return shift + scale * torch.randn(m, SPACE.size, generator=generator, dtype=torch.float64)


def model(output, seed=0, **options):
    torch.manual_seed(seed)
    net = DWSNet(SPACE, hidden_channels=8, layers=3, **output, **options).double()
    if net.in_channels == 1:
        net.standardize.fit(uneven_weights(20))
    return net


def flat(out):
    return SPACE.flatten(out) if isinstance(out, dict) else out


# --- symmetry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no norm"])
@kinds
def test_output_has_the_symmetry_promised(output, norm, residual, pool, training):
    net = model(output, norm=norm, residual=residual, pool=pool).train(training)
    check = assert_invariant if "out_features" in output else assert_equivariant
    check(net, SPACE, 1, tolerance=1e-10)


@kinds
def test_symmetry_with_channels(output):
    check = assert_invariant if "out_features" in output else assert_equivariant
    check(model(output, in_channels=2), SPACE, 2, tolerance=1e-10)


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@kinds
def test_output_depends_on_the_weights(output, pool):
    out = flat(model(output, pool=pool)(uneven_weights(6)))
    assert (out.std(dim=0) > 1e-3).all()


@kinds
def test_networks_of_a_batch_do_not_see_each_other(output):
    net, theta = model(output, norm=True), uneven_weights(6)
    torch.testing.assert_close(flat(net(theta))[2:4], flat(net(theta[2:4])))


# --- inputs and outputs -------------------------------------------------------------------------


def test_invariant_output_is_a_vector_per_network():
    assert model({"out_features": 7})(uneven_weights(6)).shape == (6, 7)


def test_equivariant_output_is_features_of_the_space():
    out = model({"out_channels": 7})(uneven_weights(6))
    assert {name: x.shape for name, x in out.items()} == {
        name: (6, *shape, 7) for name, shape in SPACE.shapes.items()
    }


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


# --- parts --------------------------------------------------------------------------------------


def block(**options):
    torch.manual_seed(0)
    options = {"norm": False, "residual": False, "dropout": 0.0} | options
    return EquivariantBlock(SPACE, 4, 4, "mean", **options).double()


def test_a_residual_block_whose_weights_are_zero_is_the_identity():
    layer, x = block(residual=True), random_features(SPACE, 3, 4, rng())
    for p in layer.parameters():
        nn.init.zeros_(p)
    assert all(torch.equal(y, x[name]) for name, y in layer(x).items())


def test_norm_is_over_the_channels_of_each_position():
    layer, x = block(norm=True), random_features(SPACE, 3, 4, rng())
    out, linear = layer(x), layer.linear(x)
    for name, y in linear.items():
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(out[name], scaled.relu())


def test_the_first_layer_has_no_residual_and_all_others_do():
    net = DWSNet(SPACE, layers=4, out_features=1, residual=True)
    assert [layer.residual for layer in net.layers] == [False, True, True, True]


def test_layers_are_counted_before_the_head():
    net = DWSNet(SPACE, layers=3, out_channels=1)
    assert sum(isinstance(module, EquivariantLinear) for module in net.modules()) == 3 + 1


@kinds
def test_dropout_acts_in_training_only(output):
    net, theta = model(output, dropout=0.5), uneven_weights(6)
    once, again = (flat(net.train()(theta)) for _ in range(2))
    assert not torch.equal(once, again)
    once, again = (flat(net.eval()(theta)) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@pytest.mark.parametrize("options", [{}, {"norm": True, "residual": True}], ids=["plain", "both"])
@kinds
def test_gradients_reach_every_parameter(output, options, pool):
    net = model(output, pool=pool, **options)
    flat(net(uneven_weights(8))).square().sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


# --- state --------------------------------------------------------------------------------------


@kinds
def test_a_saved_state_loads_strictly_and_predicts_the_same(output):
    saved, file = model(output, norm=True), io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    loaded = DWSNet(SPACE, hidden_channels=8, layers=3, norm=True, **output).double()
    loaded.load_state_dict(torch.load(file, weights_only=True), strict=True)
    theta = uneven_weights(6)
    assert torch.equal(flat(loaded(theta)), flat(saved(theta)))


@pytest.mark.parametrize("copied", [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
@kinds
def test_a_copy_predicts_the_same(output, copied):
    net, theta = model(output), uneven_weights(6)
    assert torch.equal(flat(copied(net)(theta)), flat(net(theta)))


def test_a_deep_copy_shares_no_parameter():
    net = model({"out_features": 1})
    own = {p.data_ptr() for p in net.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in copy.deepcopy(net).parameters())


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("both", [{}, {"out_features": 1, "out_channels": 1}], ids=["none", "both"])
def test_exactly_one_kind_of_output_is_asked_for(both):
    with pytest.raises(ValueError, match=r"give either out_features .* or out_channels"):
        DWSNet(SPACE, **both)


COUNTS = [
    {"layers": 0, "out_features": 1},
    {"hidden_channels": 0, "out_features": 1},
    {"in_channels": 0, "out_features": 1},
    {"out_features": 0},
    {"out_channels": 0},
]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_sizes_below_one_are_refused(counts):
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        DWSNet(SPACE, **counts)


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
