"""A zoo as tensors: nothing lost, nothing twice, nothing diverged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data import WeightData, load
from zoo_gen import Store, TrainingError, ZooReader


class Altered(ZooReader):
    """A zoo whose columns are changed on the way."""

    def __init__(self, zoo: ZooReader, **columns: object) -> None:
        super().__init__(zoo.store, zoo.folder)
        self.changes = columns

    def columns(self, theta: bool = False) -> dict[str, np.ndarray]:
        columns = super().columns(theta)
        for name, change in self.changes.items():
            columns[name] = change(columns)
        return columns


@pytest.fixture(scope="module")
def zoo(root: Store) -> ZooReader:
    return ZooReader(root, f"zoos/{root.names('zoos')[0]}")


def test_rows_of_the_splits_are_those_of_the_zoo(zoo: ZooReader, data: WeightData) -> None:
    columns = zoo.columns(theta=True)
    for name, rows in data.rows.items():
        assert (columns["split"][rows] == name).all()
    assert sum(len(rows) for rows in data.rows.values()) == len(zoo)
    np.testing.assert_array_equal(data.theta, columns["theta"])
    np.testing.assert_array_equal(data.target, columns["label"])


@given(st.integers(1, 300), st.integers(0, 99), st.integers(1, 9))
def test_an_epoch_has_each_training_network_once(
    data: WeightData, batch_size: int, seed: int, epoch: int
) -> None:
    batches = list(data.batches(batch_size, seed, epoch))
    assert all(len(b) == batch_size for b in batches[:-1])
    assert torch.equal(torch.cat(batches).sort().values, data.rows["train"])


def test_order_follows_from_seed_and_epoch_alone(data: WeightData) -> None:
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
    assert len(data.theta) == 240 - data.left_out


def test_a_split_that_diverged_altogether_is_refused(zoo: ZooReader) -> None:
    def status(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["split"] == "val", "diverged", "ok")

    with pytest.raises(TrainingError, match="no network of the val split is left"):
        load(Altered(zoo, status=status))


def test_a_missing_column_is_named_with_those_that_are_there(zoo: ZooReader) -> None:
    with pytest.raises(TrainingError, match="no column 'frequency'; it has member, signal"):
        load(zoo, "frequency")


def test_one_class_is_refused(zoo: ZooReader) -> None:
    with pytest.raises(TrainingError, match="has one class"):
        load(Altered(zoo, label=lambda c: c["label"] * 0 + 3))


def test_a_class_that_training_lacks_is_refused(zoo: ZooReader) -> None:
    def label(columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(columns["split"] == "test", 11, columns["label"])

    with pytest.raises(TrainingError, match=r"no network of class \[11\]"):
        load(Altered(zoo, label=label))
