"""A zoo as tensors: nothing lost, nothing twice, nothing diverged."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dws import WeightSpace, forward
from training.augmentation import Augmentation
from training.data import AT_ONCE, Preparation, check_memory, prepare
from training.models import MlpNetwork
from training.tasks import Classify, Regress, Retrieve, Task, TaskData, load
from zoo_gen import ConfigError, ForwardPass, Store, TrainingError, ZooReader
from zoo_gen.zoo.memory import bytes_of_batches, bytes_of_theta

KINDS: tuple[Preparation, ...] = ("align", "canonical-sine", "canonical-relu")


class Altered(ZooReader):
    """A zoo whose columns are changed on the way."""

    def __init__(self, zoo: ZooReader, **columns: object) -> None:
        super().__init__(zoo.store, zoo.folder)
        self.changes = columns

    def _shard(self, shard: int, theta: bool) -> dict[str, np.ndarray]:
        columns = super()._shard(shard, theta)
        for name, change in self.changes.items():
            columns[name] = change(columns)
        return columns


@pytest.fixture(scope="module")
def zoo(root: Store) -> ZooReader:
    return ZooReader(root, f"zoos/{root.names('zoos')[0]}")


def test_rows_of_the_splits_are_those_of_the_zoo(zoo: ZooReader, data: TaskData) -> None:
    columns = zoo.columns(theta=True)
    for name, rows in data.rows.items():
        assert (columns["split"][rows] == name).all()
    assert sum(len(rows) for rows in data.rows.values()) == len(zoo)
    np.testing.assert_array_equal(data.theta, columns["theta"])
    np.testing.assert_array_equal(data.target, columns["label"])


@given(st.integers(1, 300), st.integers(0, 99), st.integers(1, 9))
def test_an_epoch_has_each_training_network_once(
    data: TaskData, batch_size: int, seed: int, epoch: int
) -> None:
    batches = list(data.batches(batch_size, seed, epoch))
    assert all(len(b) == batch_size for b in batches[:-1])
    assert torch.equal(torch.cat(batches).sort().values, data.rows["train"])


def test_order_follows_from_seed_and_epoch_alone(data: TaskData) -> None:
    def order(seed: int, epoch: int) -> torch.Tensor:
        torch.manual_seed(np.random.default_rng().integers(1000))
        return torch.cat(list(data.batches(50, seed, epoch)))

    assert torch.equal(order(0, 1), order(0, 1))
    assert not torch.equal(order(0, 1), order(0, 2))
    assert not torch.equal(order(0, 1), order(1, 1))


def test_diverged_networks_are_left_out_and_counted(zoo: ZooReader) -> None:
    def status(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["member"] % 7 == 0, "diverged", "ok")

    data = load(Altered(zoo, status=status))
    assert data.left_out == sum(m % 7 == 0 for m in range(240))
    assert not (data.member % 7 == 0).any()
    assert torch.equal(data.theta, zoo.theta()[data.member])
    assert len(data.theta) == 240 - data.left_out


def test_a_split_that_diverged_altogether_is_refused(zoo: ZooReader) -> None:
    def status(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["split"] == "val", "diverged", "ok")

    with pytest.raises(TrainingError, match="no network of the val split is left"):
        load(Altered(zoo, status=status))


def test_a_missing_column_is_named_with_those_that_are_there(zoo: ZooReader) -> None:
    with pytest.raises(TrainingError, match="no column 'frequency'; it has member, signal"):
        load(zoo, Regress())


def test_one_class_is_refused(zoo: ZooReader) -> None:
    with pytest.raises(TrainingError, match="training networks are all of class 3"):
        load(Altered(zoo, label=lambda c: c["label"] * 0 + 3))


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("task", [Classify(), Retrieve()])
def test_a_split_of_one_class_that_judges_is_told_of(
    zoo: ZooReader, task: Task, split: str, said: Callable[[], list[str]]
) -> None:
    load(zoo, task)
    assert not said()

    def label(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["split"] == split, 3, columns["label"])

    load(Altered(zoo, label=label), task)
    (line,) = said()
    assert re.search(
        rf"all networks of the {split} split, \d+, are of class 3: what is right", line
    )


@pytest.mark.parametrize("task", [Classify(), Retrieve()])
def test_first_networks_of_one_class_are_refused(zoo: ZooReader, task: Task) -> None:
    def label(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(np.arange(len(columns["member"])) < 30, 0, 1)

    few = load(Altered(zoo, label=label), task).only(5)
    with pytest.raises(TrainingError, match="train_on: the 5 training networks are all of class 0"):
        task.build(MlpNetwork(hidden=(4,)), few)


def test_a_class_that_training_lacks_is_refused(zoo: ZooReader) -> None:
    def label(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["split"] == "test", 11, columns["label"])

    with pytest.raises(TrainingError, match=r"no network of class \[11\]"):
        load(Altered(zoo, label=label))


def fitting(data: TaskData, kind: str) -> TaskData:
    """The same weights, as of units that the kind is for."""
    return replace(data, forward_pass=ForwardPass("relu")) if kind == "canonical-relu" else data


@pytest.mark.parametrize("kind", KINDS)
def test_prepared_weights_are_other_ones_of_the_same_functions(data: TaskData, kind: str) -> None:
    prepared = prepare(fitting(data, kind), kind)
    assert (prepared.theta != data.theta).any(1).float().mean() > 0.9
    activation = "relu" if kind == "canonical-relu" else "sine"
    x = torch.rand(1, 9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    a, b = (
        forward(data.space, d.theta, x, activation, data.forward_pass.w0) for d in (data, prepared)
    )
    torch.testing.assert_close(b, a, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_changes_nothing_but_weights(data: TaskData, kind: str) -> None:
    data = fitting(data, kind)
    prepared = prepare(data, kind)
    assert (prepared.reference is not None) == (kind == "align")  # which tells what they are now
    assert (prepared.form is not None) == (kind != "align")
    assert replace(prepared, theta=data.theta, reference=None, form=None) == data


@pytest.mark.parametrize("kind", KINDS)
def test_other_splits_have_no_part_in_preparing_training_networks(
    data: TaskData, kind: str
) -> None:
    data = fitting(data, kind)
    train = data.rows["train"]
    others = torch.ones(len(data.theta), dtype=torch.bool)
    others[train] = False
    altered = replace(data, theta=torch.where(others.unsqueeze(1), 7 * data.theta, data.theta))
    assert torch.equal(prepare(data, kind).theta[train], prepare(altered, kind).theta[train])


def test_aligned_networks_of_every_split_are_closer_to_the_training_mean(data: TaskData) -> None:
    aligned = prepare(data, "align")
    for rows in data.rows.values():
        before, after = (
            (d.theta[rows] - d.theta[d.rows["train"]].mean(0)).norm(dim=1).mean()
            for d in (data, aligned)
        )
        assert after < before


@pytest.mark.parametrize("kind", ["canonical-sine", "canonical-relu"])
def test_augmented_networks_are_in_their_canonical_form_and_compute_what_others_do(
    data: TaskData, kind: str
) -> None:
    data = prepare(fitting(data, kind), kind)
    moved = Augmentation(rotation=180.0, noise=0.3)
    theta, rows = data.theta[:20].double(), torch.arange(20)

    def drawn(data: TaskData) -> torch.Tensor:
        return data.augmented(moved, theta, rows, torch.Generator().manual_seed(0))[0]

    formed, raw = drawn(data), drawn(replace(data, form=None))
    assert data.form is not None
    assert not torch.allclose(data.form(raw), raw)
    torch.testing.assert_close(data.form(formed), formed)
    activation = "relu" if kind == "canonical-relu" else "sine"
    x = torch.rand(1, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    answers = [forward(data.space, t, x, activation, data.forward_pass.w0) for t in (formed, raw)]
    torch.testing.assert_close(*answers)


def test_networks_that_are_not_augmented_are_left_to_the_last_digit(data: TaskData) -> None:
    data = prepare(data, "canonical-sine")
    theta, rows = data.theta[:20], torch.arange(20)
    assert data.augmented(Augmentation(), theta, rows, torch.Generator())[0] is theta


def test_nothing_to_prepare_leaves_the_data_as_it_is(data: TaskData) -> None:
    assert prepare(data, "none") is data


def test_the_frequency_is_that_of_the_zoo(data: TaskData) -> None:
    assert data.forward_pass.w0 == 3.0


@pytest.mark.parametrize("kind", ["canonical-sine", "canonical-relu"])
@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("tanh", "the networks have tanh units"),
        (None, "the activation of the networks is not known; import them again with --activation"),
    ],
)
def test_forms_of_units_are_refused_where_others_are_or_none_is_known(
    data: TaskData, kind: str, activation: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"prepare: got {kind!r}, but {message}"):
        prepare(replace(data, forward_pass=ForwardPass(activation)), kind)


def test_what_training_needs_is_known_before_anything_is_read(
    zoo: ZooReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = bytes_of_theta(zoo) + bytes_of_batches(zoo, AT_ONCE)  # greater than a copy, of so few
    monkeypatch.setattr("training.data.available", lambda: needed - 1)
    monkeypatch.setattr(ZooReader, "_shard", None)
    told = f"240 networks of {zoo.space.size} weights need {needed / 1e6:,.0f} MB of memory"
    with pytest.raises(TrainingError, match=told):
        load(zoo)


def test_what_just_fits_is_read(zoo: ZooReader, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = bytes_of_theta(zoo) + bytes_of_batches(zoo, AT_ONCE)
    monkeypatch.setattr("training.data.available", lambda: needed)
    assert len(load(zoo).theta) == 240


def test_the_copy_that_statistics_are_taken_of_is_counted(
    zoo: ZooReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.bytes_of_batches", lambda zoo, size: 1000)
    monkeypatch.setattr("training.data.available", lambda: 2 * bytes_of_theta(zoo) - 1)
    with pytest.raises(TrainingError, match="at its start twice"):
        check_memory(zoo)


@pytest.mark.parametrize("kind", KINDS)
def test_what_preparing_needs_is_known_before_it_begins(
    data: TaskData, kind: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.available", lambda: 2 * data.theta.nbytes)
    assert len(prepare(fitting(data, kind), kind).theta) == len(data.theta)
    monkeypatch.setattr("training.data.available", lambda: 2 * data.theta.nbytes - 1)
    with pytest.raises(TrainingError, match=f"prepare: got '{kind}', which for 240 networks of"):
        prepare(fitting(data, kind), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_a_few_networks_at_a_time_changes_nothing(
    data: TaskData, kind: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(fitting(data, kind), kind)
    monkeypatch.setattr("training.data.AT_ONCE", 7)
    monkeypatch.setattr(import_module("dws.align"), "CHUNK_ENTRIES", 1000)
    assert torch.allclose(prepare(fitting(data, kind), kind).theta, whole.theta, atol=1e-6)


def test_forms_of_scales_refuse_sine_units(data: TaskData) -> None:
    with pytest.raises(ConfigError, match=r"prepare: got 'canonical-relu', but .* have sine units"):
        prepare(data, "canonical-relu")


@pytest.mark.parametrize("value", [0.5, -1.0, float("nan"), float("inf")])
def test_numbers_that_are_no_classes_are_refused(zoo: ZooReader, value: float) -> None:
    with pytest.raises(TrainingError, match=r"column 'label' is .* not whole"):
        load(Altered(zoo, label=lambda columns: columns["label"] + value))


def test_weights_without_a_form_are_refused(data: TaskData) -> None:
    space = WeightSpace.mlp((2, 8, 8, 1), bias=False)
    with pytest.raises(ConfigError, match="prepare: got 'canonical-sine', but axis n1 has 0 bias"):
        prepare(replace(data, space=space), "canonical-sine")
