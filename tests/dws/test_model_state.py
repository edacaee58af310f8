"""DWSNets as things: saved, copied, in other precisions, compiled, exported, transformed."""

import copy
import io
import pickle

import pytest
import torch
from equivariance import randomised, rng
from models import OPTIONS, OUTPUTS, SPACE, flat, kinds, model, uneven_weights
from safetensors.torch import load_file, save_file
from torch.func import functional_call, grad, vmap

from dws import WeightSpace

some = pytest.mark.parametrize("options", [{}, OPTIONS["all"]], ids=["plain", "all options"])


def through_torch(state, folder):
    torch.save(state, folder / "state.pt")
    return torch.load(folder / "state.pt", weights_only=True)


def through_safetensors(state, folder):
    save_file(state, folder / "state.safetensors")
    return load_file(folder / "state.safetensors")


@pytest.mark.parametrize("travelled", [through_torch, through_safetensors])
@some
@kinds
def test_a_saved_state_loads_strictly_and_predicts_the_same(output, options, travelled, tmp_path):
    saved, other = (randomised(model(output, i, **options), seed=i) for i in range(2))
    other.load_state_dict(travelled(saved.state_dict(), tmp_path), strict=True)
    theta = uneven_weights(6)
    assert torch.equal(flat(other(theta)), flat(saved(theta)))


def test_the_statistics_of_weights_and_of_batches_are_part_of_the_state():
    trained, other = (model(OUTPUTS["invariant"], norm="batch") for _ in range(2))
    trained.standardize.fit(3 * uneven_weights(20, seed=1))
    trained(uneven_weights(20))
    other.load_state_dict(trained.state_dict(), strict=True)
    theta = uneven_weights(6)
    assert torch.equal(other.eval()(theta), trained.eval()(theta))


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def saved_whole(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, saved_whole])
@some
@kinds
def test_a_copy_predicts_the_same(output, options, copied):
    net, theta = model(output, **options), uneven_weights(6)
    assert torch.equal(flat(copied(net)(theta)), flat(net(theta)))


def test_a_deep_copy_shares_no_parameter():
    net = model({"out_features": 1})
    own = {p.data_ptr() for p in net.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in copy.deepcopy(net).parameters())


def test_two_models_of_one_seed_are_the_same():
    one, two = (model({"out_features": 1}, **OPTIONS["all"]).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@some
@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_precisions_are_kept(dtype, output, options):
    out = flat(model(output, **options).to(dtype)(uneven_weights(6).to(dtype)))
    assert out.dtype == dtype
    assert out.isfinite().all()


# without probes and Fourier features, which amplify rounding as they amplify all small changes
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("options", [{}, OPTIONS["heads"] | {"pool": "attention", "norm": "layer"}])
@kinds
def test_other_precisions_are_near_the_double_one(output, options, dtype, tolerance):
    net, theta = model(output, **options), uneven_weights(6)
    expected = flat(net(theta))
    out = flat(net.to(dtype)(theta.to(dtype)))
    assert (out.double() - expected).abs().max() < tolerance * expected.abs().max()


@kinds
def test_autocast_runs_forward_and_backward(output):
    net, theta = model(output).float(), uneven_weights(6).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = flat(net(theta))
    expected = flat(net(theta))
    assert (out - expected).abs().max() < 0.1 * expected.abs().max()
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() and p.dtype == torch.float32 for p in net.parameters())


@some
@kinds
def test_no_network_gives_no_prediction(output, options):
    assert flat(model(output, **options)(uneven_weights(6)[:0])).shape[0] == 0


# --- compiled, exported, transformed ------------------------------------------------------------


@some
@kinds
def test_a_compiled_model_is_one_graph_and_the_same(output, options):
    torch._dynamo.reset()
    net, theta = copy.deepcopy(model(output, **options)), uneven_weights(6)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(flat(compiled(theta)), flat(net(theta)))


@some
@kinds
def test_an_exported_model_takes_any_number_of_networks(output, options):
    net = model(output, **options).eval()
    batch = torch.export.Dim("m", min=1)
    exported = torch.export.export(net, (uneven_weights(6),), dynamic_shapes=({0: batch},))
    for m in (1, 9):
        theta = uneven_weights(m)
        torch.testing.assert_close(flat(exported.module()(theta)), flat(net(theta)))


@some
def test_gradients_of_each_network_by_vmap_are_those_of_a_loop(options):
    net, theta = model({"out_features": 1}, **options), uneven_weights(4)
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters, theta):
        return functional_call(net, parameters, (theta[None],)).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, theta)
    for i in range(4):
        alone = torch.autograd.grad(net(theta[i : i + 1]).square().sum(), [*net.parameters()])
        for name, expected in zip(parameters, alone, strict=True):
            torch.testing.assert_close(together[name][i], expected)


def test_a_prediction_can_be_differentiated_by_the_weights_and_that_by_the_parameters():
    net = model({"out_features": 1}, activation="tanh")
    theta = uneven_weights(3).requires_grad_()
    (slope,) = torch.autograd.grad(net(theta).sum(), theta, create_graph=True)
    direction = torch.randn(theta.shape, generator=rng(), dtype=torch.float64)
    h = 1e-6
    with torch.no_grad():
        numerical = (net(theta + h * direction) - net(theta - h * direction)).sum() / (2 * h)
    torch.testing.assert_close((slope * direction).sum(), numerical, rtol=1e-6, atol=1e-8)
    slope.square().sum().backward()
    assert all(p.grad.any() for name, p in net.named_parameters() if "weight" in name)


# --- states of other models ---------------------------------------------------------------------


def test_the_state_of_a_model_for_another_space_is_refused():
    other = model({"out_features": 3})
    other.space = WeightSpace.mlp([2, 5, 4, 4, 3])
    state = type(other)(other.space, hidden_channels=8, layers=3, out_features=3).state_dict()
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model({"out_features": 3}).load_state_dict(state)


def test_the_space_of_a_loaded_model_is_its_own():
    assert pickled(model({"out_features": 3})).space == SPACE
