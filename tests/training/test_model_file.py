"""A trained model as one file: it says what it is, and runs nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from dws import WeightSpace
from training import model_file
from training.data import prepare
from training.models import (
    DwsNetwork,
    Inr2VecNetwork,
    StatisticsNetwork,
    TransformerNetwork,
    UnchangedNetwork,
)
from training.tasks import Contrast, Edit, Regress, load
from zoo_gen import Digits, ForwardPass, ModelError, ZooReader

NETWORKS = [
    None,
    Inr2VecNetwork(hidden=(8,), head=(8,)),
    StatisticsNetwork(hidden=(8,)),
    TransformerNetwork(channels=8),
]


def made(job, data):
    """A job's model with weights at random, and its file."""
    torch.manual_seed(0)
    model = job.task.build(job.network, data).eval()
    model.standardize.fit(data.theta[data.rows["train"]])
    return model, model_file.encode(job, data, model.state_dict())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.kind if n else "dwsnet")
def test_a_model_comes_back_from_its_file(job, data, network) -> None:
    one = job(kind="dwsnet") if network is None else replace(job(), network=network)
    model, content = made(one, data)
    again = model_file.decode(content, "file")
    torch.testing.assert_close(again.predict(data.theta[:5]), model(data.theta[:5]))
    assert (again.space, again.task) == (data.space, one.task)
    assert again.output.kind == "logits"
    assert again.zoo == one.zoo.removeprefix("zoos/")


def test_a_model_of_values_answers_in_their_units(job, data) -> None:
    task = Regress(columns=("label",))
    target = 100 + data.target[:, None].float()
    data = replace(data, task=task, target=target, classes=0)
    model, content = made(replace(job(), task=task), data)
    again = model_file.decode(content, "file")
    torch.testing.assert_close(again.predict(data.theta[:5]), model(data.theta[:5]))
    assert again.output.names == ("label",)
    assert float(again.predict(data.theta).mean()) > 90


def test_a_model_of_another_task_comes_back(job, data) -> None:
    task = Contrast(columns=("label",), embedding=5)  # with settings inside its settings
    data = replace(data, task=task, target=data.target[:, None].float(), classes=0)
    model, content = made(replace(job(), task=task), data)
    again = model_file.decode(content, "file")
    torch.testing.assert_close(again.predict(data.theta[:5]), model(data.theta[:5]))
    assert (again.task, again.output.kind) == (task, "embedding")


@pytest.mark.parametrize("kind", ["align", "canonical-sine"])
def test_a_model_of_prepared_weights_takes_them_as_they_are(job, data, kind) -> None:
    prepared = prepare(data, kind)
    model, content = made(job(prepare=kind), prepared)
    again = model_file.decode(content, "file")
    expected = model(prepared.theta[:5])
    torch.testing.assert_close(again.predict(data.theta[:5]), expected)
    assert not torch.allclose(model(data.theta[:5]), expected)


def test_a_file_of_what_has_learned_nothing_is_refused(root, job) -> None:
    task, network = Edit(), UnchangedNetwork()
    data = load(ZooReader(root, f"zoos/{root.names('zoos')[0]}"), task, Digits())
    content = made(replace(job(), task=task, network=network), data)[1]
    with pytest.raises(ModelError, match="is what other models are compared with"):
        model_file.decode(content, "file")


def test_networks_of_another_architecture_are_told_with_both(job, data) -> None:
    again = model_file.decode(made(job(), data)[1], "file")
    with pytest.raises(ModelError) as told:
        again.require(WeightSpace.mlp([2, 32, 32, 1]), "theirs.pth")
    assert "theirs.pth" in str(told.value)
    assert "2-32-32-1 (1,185 weights)" in str(told.value)
    assert "2-8-8-1 (105 weights)" in str(told.value)


@pytest.mark.parametrize(
    "network", [ForwardPass("sine", 30.0), ForwardPass("relu")], ids=["w0", "relu"]
)
@pytest.mark.parametrize("reason", ["prepare: canonical-sine", "probes"])
def test_a_model_that_counts_on_units_refuses_others(job, data, network, reason: str) -> None:
    one = replace(job(), network=DwsNetwork(hidden_channels=4, probes=3))
    if reason != "probes":
        one, data = job(prepare="canonical-sine"), prepare(data, "canonical-sine")
    again = model_file.decode(made(one, data)[1], "file")
    again.require(data.space, "theirs", ForwardPass("sine", 3.0))
    again.require(data.space, "theirs")
    with pytest.raises(ModelError, match=rf"takes all for sine \(w0 3\) units \({reason}\)"):
        again.require(data.space, "theirs", network)


def test_a_model_of_plain_weights_takes_those_of_other_units(job, data) -> None:
    model_file.decode(made(job(), data)[1], "file").require(
        data.space, "theirs", ForwardPass("relu")
    )


def test_a_pickle_is_no_model_file_and_is_not_run(tmp_path) -> None:
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    with pytest.raises(ModelError, match=r"file is no model file"):
        model_file.decode(pickle.dumps(Hostile()), "file")
    assert not (tmp_path / "run").exists()


def test_weights_without_a_description_are_told() -> None:
    with pytest.raises(ModelError, match=r"file does not say what its weights are of"):
        model_file.decode(save({"w": torch.ones(2)}), "file")


@pytest.mark.parametrize(
    ("old", "new"), [('"mlp"', '"rnn"'), ('"classify"', '"sort"'), ("[16]", "[17]")]
)
def test_a_description_of_what_is_not_known_is_told(job, data, old: str, new: str) -> None:
    content = made(job(), data)[1]
    size = int.from_bytes(content[:8], "little")
    told = json.loads(content[8 : 8 + size])["__metadata__"][model_file.KEY]
    assert old in told
    changed = save(model_file.state_of(content), {model_file.KEY: told.replace(old, new)})
    with pytest.raises(ModelError, match=r"describes a model that cannot be built here"):
        model_file.decode(changed, "file")
