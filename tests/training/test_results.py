"""A result's address covers what changes it; a result is whole or absent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training import results
from training.jobs import TrainingJob
from training.results import Result
from training.tasks import Classify, Regress
from zoo_gen import StorageError, Store

RESULT = Result(
    7, 1, [{"val_accuracy": 0.5, "seconds": 2.0}], {"accuracy": 0.4, "loss": 1.0}, [1, 2], 0, 1
)


def test_everything_that_changes_a_result_changes_its_address(job) -> None:
    base: TrainingJob = job()
    others = [
        job(seed=1),
        job(kind="dwsnet"),
        job(epochs=4),
        job(batch_size=49),
        job(learning_rate=0.1),
        job(weight_decay=0.1),
        job(permutation=True),
        job(prepare="align"),
        replace(base, zoo="zoos/tiny-00000000"),
        replace(base, network=replace(base.network, hidden=(17,))),
        replace(base, task=Classify(column="other")),
        replace(base, task=Regress()),
        replace(base, networks=50),
    ]
    assert len({j.hash8 for j in [base, *others]}) == 14


def test_a_published_result_is_read_back(job, tmp_path) -> None:
    store, one = Store(str(tmp_path)), job()
    assert not results.done(store, one)
    results.publish(store, one, RESULT, b"weights")
    assert results.done(store, one)
    assert results.read(store, one) == RESULT


def test_a_model_without_result_is_not_done(job, tmp_path, monkeypatch) -> None:
    store, one = Store(str(tmp_path)), job()
    publish = Store.publish

    def stop_at_result(self: Store, path: str, data: bytes) -> None:
        if path.endswith("result.json"):
            raise StorageError("planted")
        publish(self, path, data)

    monkeypatch.setattr(Store, "publish", stop_at_result)
    with pytest.raises(StorageError, match="planted"):
        results.publish(store, one, RESULT, b"weights")
    assert store.exists(f"{one.folder}/model.safetensors")
    assert not results.done(store, one)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]"])
def test_a_broken_result_is_named(job, tmp_path, content: bytes) -> None:
    store, one = Store(str(tmp_path)), job()
    store.publish(f"{one.folder}/result.json", content)
    with pytest.raises(StorageError, match=r"result\.json is not a result .*delete its folder"):
        results.read(store, one)
