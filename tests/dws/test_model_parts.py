"""The parts of a DWSNet: blocks with norms, activations and residuals, dropout, what learns."""

import pytest
import torch
from equivariance import ALL_SPACES, assert_same, random_features, randomised, rng
from models import OPTIONS, POOLS, SPACE, flat, kinds, model, uneven_weights
from torch import nn

from dws import DWSNet, EquivariantLinear, WeightSpace
from dws.pooling import Packed
from dws.stack import EquivariantBlock


def blocked(x, linear, **options):
    """Features through a block around this layer."""
    block = EquivariantBlock(linear, **options).double()
    return block(Packed.of(SPACE, x)).features(linear.out_channels)


def linear_layer(c_in=4, c_out=4):
    torch.manual_seed(0)
    return EquivariantLinear(SPACE, c_in, c_out).double()


@pytest.mark.parametrize("space", ALL_SPACES.values(), ids=ALL_SPACES)
@pytest.mark.parametrize("pool", POOLS)
def test_a_model_is_its_layers_one_after_the_other(pool, space):
    """Each from features to features, which is what the summaries made ahead must not change."""
    torch.manual_seed(0)
    net = randomised(DWSNet(space, 1, 4, 3, out_channels=2, pool=pool).double())
    x = features = random_features(space, 3, 1, rng())
    for layer in net.layers:
        x = {name: y.relu() for name, y in layer.linear(x).items()}
    assert_same(net(features), net.head(x), 1e-12)


def test_a_residual_block_whose_weights_are_zero_is_the_identity():
    linear, x = linear_layer(), random_features(SPACE, 3, 4, rng())
    for p in linear.parameters():
        nn.init.zeros_(p)
    assert_same(blocked(x, linear, residual=True), x, 0)


def test_a_residual_adds_the_input_to_what_the_block_would_be():
    linear, x = linear_layer(), random_features(SPACE, 3, 4, rng())
    plain, added = (blocked(x, linear, residual=r, activation="tanh") for r in (False, True))
    assert_same(added, {name: y + x[name] for name, y in plain.items()}, 1e-12)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("relu", torch.relu),
        ("gelu", nn.functional.gelu),
        ("silu", nn.functional.silu),
        ("tanh", torch.tanh),
    ],
)
def test_the_activation_is_the_one_named(name, f):
    linear, x = linear_layer(), random_features(SPACE, 3, 4, rng())
    expected = {tensor: f(y) for tensor, y in linear(x).items()}
    assert_same(blocked(x, linear, activation=name), expected, 1e-12)


# over which dimensions of [m, *shape, c]: each position's channels, or each channel's positions
NORMED = {"layer": [-1], "batch": [0, 1, 2]}


@pytest.mark.parametrize(("norm", "dims"), NORMED.items(), ids=NORMED)
def test_norm_is_over(norm, dims):
    linear, x = linear_layer(), random_features(SPACE, 3, 4, rng())
    out = blocked(x, linear, norm=norm)
    for name, y in linear(x).items():
        over = dims[: y.ndim - 1]
        centred = y - y.mean(over, keepdim=True)
        scaled = centred / (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(out[name], scaled.relu())


def test_the_first_layer_has_no_residual_and_all_others_do():
    net = DWSNet(SPACE, 8, hidden_channels=8, layers=4, out_features=1, residual=True)
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


def test_dropout_is_also_in_the_invariant_head():
    net, theta = model({"out_features": 3}, dropout=0.5).train(), uneven_weights(6)
    for block in net.layers:
        block.dropout.p = 0.0
    assert not torch.equal(net(theta), net(theta))


@pytest.mark.parametrize("options", [{}, OPTIONS["all"]], ids=["plain", "all options"])
@kinds
def test_in_pieces_predictions_and_gradients_are_the_same(output, options):
    results = []
    for recompute in (0, 4):
        net = model(output, recompute=recompute, **options)
        theta = uneven_weights(10).requires_grad_()  # pieces of 4, 4 and 2
        out = flat(net(theta))
        results.append([out, *torch.autograd.grad(out.square().sum(), [theta, *net.parameters()])])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "layer", "residual": True}, OPTIONS["all"]],
    ids=["plain", "two", "all"],
)
@kinds
def test_gradients_reach_every_parameter(output, options, pool):
    net = randomised(model(output, **{**options, "pool": pool}))
    flat(net(uneven_weights(8))).square().sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize(
    "linear", [linear_layer(4, 3), EquivariantLinear(SPACE, 4, 4, target=SPACE.neurons)], ids=str
)
def test_a_residual_around_a_change_of_features_is_refused(linear):
    with pytest.raises(ValueError, match="a residual needs a layer whose output is like its input"):
        EquivariantBlock(linear, residual=True)


@pytest.mark.parametrize("output", [{"out_features": 2}, {"out_channels": 2}], ids=str)
def test_batch_norm_takes_a_batch_of_one_network(output):
    """The last batch of an epoch may be: the bias of one output takes the running statistics."""
    space = WeightSpace.mlp([2, 4, 1])
    out = DWSNet(space, layers=2, norm="batch", **output).train()(torch.randn(1, space.size))
    assert all(x.isfinite().all() for x in (out.values() if isinstance(out, dict) else [out]))
