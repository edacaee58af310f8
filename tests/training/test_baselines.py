"""The paper's baselines: slow references, what they claim of symmetry, learning and export."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace, act, random_permutation
from tests.dws.equivariance import PROPERTY, SPACES, rng, seeds, widths
from training import loop
from training.models import Inr2VecNetwork, MlpNetwork, StatisticsNetwork, TransformerNetwork
from training.models.inr2vec import rows
from training.models.statistics import statistics
from training.models.transformer import neuron_tokens
from training.settings import Training
from training.tasks import Classify, TaskData
from zoo_gen import ConfigError

NETWORKS: dict[str, Any] = {
    "mlp": MlpNetwork(hidden=(32,), dropout=0.1),
    "inr2vec": Inr2VecNetwork(hidden=(32, 32), head=(32,), dropout=0.1),
    "transformer of neurons": TransformerNetwork(channels=16, layers=2, dropout=0.1),
    "transformer of layers": TransformerNetwork(channels=16, layers=2, tokens="layer", dropout=0.1),
    "transformer without positions": TransformerNetwork(channels=16, layers=2, positions=False),
    "statistics": StatisticsNetwork(hidden=(32,), dropout=0.1),
}
SPACE = WeightSpace.mlp([2, 5, 4, 3])

networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def random_theta(space: WeightSpace, m: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(m, space.size, generator=rng(seed)) * 0.3 + 0.1


def built(network: Any, space: WeightSpace = SPACE, classes: int = 4, seed: int = 0) -> Any:
    """A network whose statistics are those of some weights."""
    torch.manual_seed(seed)
    model = network.build(space, classes)
    model.standardize.fit(random_theta(space, 20, seed + 1))
    return model


def sequential(hidden: list[int], seed: int) -> tuple[WeightSpace, Tensor, list[Tensor]]:
    """A module of these widths in double precision: its space, weights [1, size] and tensors."""
    torch.manual_seed(seed)
    module = nn.Sequential(*(nn.Linear(a, b).double() for a, b in pairwise(hidden)))
    theta = parameters_to_vector(module.parameters()).detach().unsqueeze(0)
    return WeightSpace.from_module(module), theta, list(module.state_dict().values())


# --- what goes in: index loops over a state dict ------------------------------------------------


@PROPERTY
@given(widths(), seeds)
def test_rows_are_those_of_an_index_loop(w: list[int], seed: int) -> None:
    space, theta, tensors = sequential(w, seed)
    weights, biases = tensors[::2], tensors[1::2]
    expected: list[list[Tensor]] = []
    for weight, bias in zip(weights, biases, strict=True):
        out, into = range(weight.shape[0]), range(weight.shape[1])
        if len(weights) == 1:
            expected.append([weight[i, j] for i in out for j in into])
        elif weight is weights[-1]:
            expected += [[weight[i, j] for j in into] for i in out]
        else:
            expected += [[weight[i, j] for i in out] for j in into]
        expected.append([bias[i] for i in out])
    longest = max(map(len, expected))
    padded = torch.tensor([[*row, *[0.0] * (longest - len(row))] for row in expected])
    assert torch.equal(rows(space, space.split(theta))[0], padded.double())


@PROPERTY
@given(widths(), seeds)
def test_tokens_are_those_of_an_index_loop(w: list[int], seed: int) -> None:
    space, theta, tensors = sequential(w, seed)
    tokens = neuron_tokens(space, space.split(theta))
    assert list(tokens) == [f"n{k}" for k in range(1, len(w))]
    for weight, bias, got in zip(tensors[::2], tensors[1::2], tokens.values(), strict=True):
        expected = [[*weight[i], bias[i]] for i in range(len(bias))]
        assert torch.equal(got[0], torch.tensor(expected, dtype=torch.float64))


@PROPERTY
@given(widths(), seeds)
def test_statistics_are_those_of_numpy(w: list[int], seed: int) -> None:
    space, theta, tensors = sequential(w, seed)
    expected = [
        [x.mean(), x.var(), *(np.quantile(x, q) for q in (0, 0.25, 0.5, 0.75, 1))]
        for x in (tensor.numpy() for tensor in tensors)
    ]
    got = statistics(space, space.split(theta))[0].reshape(len(tensors), 7)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-14)


@spaces
def test_rows_and_tokens_hold_every_weight_once(space: WeightSpace) -> None:
    numbers = torch.arange(1.0, space.size + 1)
    features = space.split(numbers.unsqueeze(0))
    row = rows(space, features).flatten()
    assert torch.equal(row[row > 0].sort().values, numbers)
    tokens = torch.cat([x.flatten() for x in neuron_tokens(space, features).values()])
    assert torch.equal(tokens.sort().values, numbers)


def test_a_kernels_tokens_run_over_inputs_and_taps() -> None:
    space = SPACES["kernel with taps last"]
    features = space.split(random_theta(space, 2))
    got = neuron_tokens(space, features)["c2"]
    for m, i in product(range(2), range(3)):
        kernel = [features["K2"][m, i, j, k, 0] for j in range(3) for k in range(2)]
        assert got[m, i].tolist() == [*kernel, features["b2"][m, i, 0]]


# --- symmetry -----------------------------------------------------------------------------------


@spaces
def test_statistics_are_invariant_bit_by_bit(space: WeightSpace) -> None:
    model, theta = built(NETWORKS["statistics"], space).eval(), random_theta(space)
    g = random_permutation(space, rng(2), batch=len(theta))
    moved = space.flatten(act(space, g, space.split(theta)))
    assert torch.equal(model(moved), model(theta))


def test_an_embedding_is_the_maximum_of_rows_encoded_alone() -> None:
    model, theta = built(NETWORKS["inr2vec"]).eval(), random_theta(SPACE)
    each = rows(SPACE, model.standardize(SPACE.split(theta)))
    encoded = torch.stack([model.encoder(each[:, i]) for i in range(each.shape[1])])
    torch.testing.assert_close(model(theta), model.head(encoded.max(0).values))


@pytest.mark.parametrize(
    ("tokens", "positions", "apart"),
    [("neuron", True, True), ("neuron", False, False), ("layer", False, True)],
)
def test_what_tells_the_neurons_of_a_layer_apart(tokens: Any, positions: bool, apart: bool) -> None:
    model = built(TransformerNetwork(tokens=tokens, positions=positions)).eval()
    theta = random_theta(SPACE)
    features = SPACE.split(theta)
    flipped = {name: features[name].flip(1) for name in ("W2", "b2")}
    change = model(SPACE.flatten({**features, **flipped})) - model(theta)
    assert (change.abs().max().item() > 1e-3) is apart


@networks
def test_the_units_of_an_orbit_do_not_matter(network: Any) -> None:
    model, theta = built(network).eval(), random_theta(SPACE, 20)
    model.standardize.fit(theta)
    expected = model(theta)
    features = SPACE.split(theta)
    features["W1"] = features["W1"] * torch.tensor([[3.0], [0.1]]) + torch.tensor([[0.5], [2.0]])
    other = SPACE.flatten(features)
    model.standardize.fit(other)
    torch.testing.assert_close(model(other), expected, atol=1e-4, rtol=1e-4)


# --- a network like any other -------------------------------------------------------------------


@networks
@spaces
def test_every_space_has_its_networks(network: Any, space: WeightSpace) -> None:
    model = built(network, space)
    out = model(random_theta(space))
    assert out.shape == (6, 4)
    out.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@networks
def test_a_prediction_does_not_depend_on_the_others_in_the_batch(network: Any) -> None:
    model, theta = built(network).eval(), random_theta(SPACE)
    alone = torch.cat([model(one) for one in theta.split(1)])
    torch.testing.assert_close(alone, model(theta))


@networks
@pytest.mark.parametrize("m", [0, 1])
def test_a_worker_may_get_one_network_or_none(network: Any, m: int) -> None:
    model = built(network)
    model(random_theta(SPACE, m)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(torch.isfinite(x).all() for x in model.buffers())


@networks
def test_64_random_networks_are_memorised(network: Any) -> None:
    model, theta = built(replace(network, dropout=0.0)), random_theta(SPACE, 64, seed=1)
    target = torch.randint(4, (64,), generator=rng(2))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        loss = nn.functional.cross_entropy(model(theta), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0], losses[::30]


@networks
def test_the_exported_program_takes_any_batch(network: Any) -> None:
    model, theta = built(network).eval(), random_theta(SPACE)
    dynamic = ({0: Dim.AUTO, 1: Dim.AUTO},)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (theta[:4],), dynamic_shapes=dynamic), file)
    file.seek(0)
    program = torch.export.load(file).module()
    for n in (1, 6):
        torch.testing.assert_close(program(theta[:n]), model(theta[:n]))


@networks
def test_the_state_holds_everything_learnt(network: Any) -> None:
    model, theta = built(network), random_theta(SPACE)
    model(theta)  # moves the statistics of batch norms
    fresh = network.build(SPACE, 4)
    fresh.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(fresh.eval()(theta), model.eval()(theta))


@networks
def test_a_copy_is_a_network_of_its_own(network: Any) -> None:
    model, theta = built(network).eval(), random_theta(SPACE)
    before, twin = model(theta), copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert torch.equal(twin(theta), before)


@networks
def test_single_precision_is_near_double(network: Any) -> None:
    model, theta = built(network).eval(), random_theta(SPACE)
    double = copy.deepcopy(model).double()
    torch.testing.assert_close(model(theta).double(), double(theta.double()), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        Inr2VecNetwork(hidden=(64,) * 6, head=(64,) * 6),
        TransformerNetwork(layers=6),
        TransformerNetwork(layers=6, tokens="layer"),
        StatisticsNetwork(hidden=(64,) * 6),
    ],
    ids=lambda network: network.kind,
)
def test_outputs_are_of_order_one_before_training(network: Any) -> None:
    space = WeightSpace.mlp([2, 32, 32, 1])
    model = built(network, space, classes=64).eval()  # with batch norms that change nothing yet
    with torch.no_grad():
        out = model(random_theta(space, 64))
    assert 0.3 < out.square().mean().sqrt() < 3


def test_statistics_are_standardised_one_by_one() -> None:
    theta = random_theta(SPACE, 500)
    out = built(NETWORKS["statistics"]).standardize.fit(theta)(theta)
    torch.testing.assert_close(out.mean(0), torch.zeros(42), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(42))


def test_attention_blocks_start_at_different_weights() -> None:
    first, second = (block.linear1.weight for block in built(TransformerNetwork(layers=2)).blocks)
    assert not torch.equal(first, second)


def test_weights_that_are_all_equal_have_a_gradient() -> None:
    space = WeightSpace.mlp([1, 1, 2, 1])
    theta = torch.full((2, space.size), 0.5, requires_grad=True)
    statistics(space, space.split(theta)).square().sum().backward()
    assert theta.grad is not None
    assert torch.isfinite(theta.grad).all()


@pytest.mark.parametrize("kind", ["inr2vec", "transformer of neurons", "statistics"])
def test_the_loop_trains_it(kind: str) -> None:
    theta, target = random_theta(SPACE, 40), torch.arange(40) % 2
    theta += target.unsqueeze(1)  # classes apart
    split = dict(zip(("train", "val", "test"), torch.arange(40).split([20, 10, 10]), strict=True))
    data = TaskData(
        space=SPACE,
        theta=theta,
        target=target,
        member=torch.arange(40),
        rows=split,
        classes=2,
        task=Classify(),
    )
    outcome = loop.train(NETWORKS[kind], data, Training(epochs=20, batch_size=19), seed=0)
    assert outcome.test["accuracy"] == 1


# --- errors -------------------------------------------------------------------------------------


@networks
def test_weights_of_another_space_are_refused(network: Any) -> None:
    message = rf"expected weights \[m, {SPACE.size}\] .* got \[6, {SPACE.size + 1}\]"
    with pytest.raises(ValueError, match=message):
        built(network)(torch.zeros(6, SPACE.size + 1))


@pytest.mark.parametrize("f", [rows, neuron_tokens, statistics])
def test_several_channels_are_refused(f: Any) -> None:
    with pytest.raises(ValueError, match=r"tensor W1: expected \[m, 5, 2, 1\], got \[6, 5, 2, 3\]"):
        f(SPACE, SPACE.split(torch.zeros(6, SPACE.size, 3)))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Inr2VecNetwork, {"hidden": ()}, "hidden: got no width, expected at least one"),
        (Inr2VecNetwork, {"hidden": (8, 0)}, "hidden: got 0, expected more than 0"),
        (Inr2VecNetwork, {"head": (0,)}, "head: got 0, expected more than 0"),
        (Inr2VecNetwork, {"dropout": 1.0}, "dropout: got 1.0, expected at least 0 and less"),
        (TransformerNetwork, {"heads": 3}, "heads: got 3 with channels 64, expected heads that"),
        (TransformerNetwork, {"heads": 0}, "heads: got 0, expected more than 0"),
        (TransformerNetwork, {"layers": 0}, "layers: got 0, expected more than 0"),
        (TransformerNetwork, {"channels": 0}, "channels: got 0, expected more than 0"),
        (TransformerNetwork, {"dropout": -0.1}, "dropout: got -0.1, expected at least 0"),
        (StatisticsNetwork, {"hidden": (-1,)}, "hidden: got -1, expected more than 0"),
        (StatisticsNetwork, {"dropout": 2.0}, "dropout: got 2.0, expected at least 0"),
    ],
)
def test_options_name_what_is_out_of_range(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**options)


def test_a_single_row_has_no_maximum() -> None:
    with pytest.raises(ConfigError, match="a single row of 6 weights; use mlp"):
        Inr2VecNetwork().build(WeightSpace.mlp([2, 3], bias=False), 4)
