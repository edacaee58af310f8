"""Numbers told from weights: targets in their units, errors as others define them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from dws import WeightSpace
from training import loop
from training.augmentation import Augmentation
from training.models import DwsNetwork, MlpNetwork
from training.settings import Training
from training.tasks import Contrast, PredictAccuracy, Regress, Task, TaskData
from zoo_gen import TrainingError

SPACE = WeightSpace.mlp([1, 6, 1])
ROWS = {"train": torch.arange(300), "val": torch.arange(300, 360), "test": torch.arange(360, 420)}
TWO = Regress(columns=("large", "small"))


def columns(n: int = 420) -> dict[str, Any]:
    """Two numbers of each network, of units a million times apart."""
    theta = weights(n)
    total = theta.square().sum(1).numpy()
    return {"large": 1e3 * total, "small": 1e-3 * theta.sum(1).numpy() + 5}


def weights(n: int = 420) -> torch.Tensor:
    return torch.randn(n, SPACE.size, generator=torch.Generator().manual_seed(0))


def data_of(task: Task, values: dict[str, Any]) -> TaskData:
    targets = task.targets("here", values, ROWS)
    members = torch.arange(420)
    return TaskData(
        space=SPACE,
        theta=weights(),
        member=members,
        rows=ROWS,
        task=task,
        target=targets.values,
        classes=targets.classes,
    )


def test_a_model_answers_in_the_units_of_the_columns() -> None:
    data = data_of(TWO, columns())
    settings = Training(epochs=40, batch_size=32, learning_rate=0.01)
    outcome = loop.train(DwsNetwork(hidden_channels=8, layers=2), data, settings, 0)
    target = data.target[data.rows["test"]]
    torch.testing.assert_close(outcome.model(data.theta[data.rows["test"]]), outcome.predictions)
    error = (outcome.predictions - target).square().mean(0) / target.var(0)
    assert (error < 0.2).all(), error


def test_scores_are_r_squared_and_squared_error_as_sklearn_has_them() -> None:
    from sklearn.metrics import mean_squared_error, r2_score

    data = data_of(TWO, columns())
    answer = data.target[data.rows["val"]] * 0.9
    scores = TWO.scores(data, {"val": answer}, "val")
    target = data.target[data.rows["val"]]
    assert scores["r2"] == pytest.approx(r2_score(target, answer), rel=1e-5)
    assert scores["mse"] == pytest.approx(mean_squared_error(target, answer), rel=1e-5)


def test_the_order_of_accuracies_is_kendalls_tau() -> None:
    task = PredictAccuracy()
    values = np.random.default_rng(0).integers(0, 20, 420) / 20
    data = data_of(task, {"test_accuracy": values})
    answer = torch.rand(60, 1, generator=torch.Generator().manual_seed(1))
    target = data.target[data.rows["test"]]
    expected = kendalltau(answer[:, 0], target[:, 0]).statistic
    assert task.scores(data, {"test": answer}, "test")["tau"] == pytest.approx(expected)


def test_columns_of_any_unit_weigh_the_same_in_the_loss() -> None:
    data = data_of(TWO, columns())
    std = data.target[ROWS["train"]].std(0, correction=0)
    target = data.target[:4]
    by_large, by_small = (
        TWO.loss(lambda theta, s=shift: target + s, data, data.theta[:4], target)  # type: ignore[misc]
        for shift in (torch.tensor([1.0, 0]) * std, torch.tensor([0, 1.0]) * std)
    )
    assert by_large.item() == pytest.approx(4 / 2, rel=1e-3)
    assert by_small.item() == pytest.approx(4 / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "not finite or above 3e38 in column 'large' for 1 of 420 networks"),
        (np.inf, "not finite or above 3e38 in column 'large' for 1 of 420 networks"),
        (1e39, "not finite or above 3e38 in column 'large' for 1 of 420 networks"),
    ],
)
def test_targets_that_are_not_finite_are_counted(value: float, message: str) -> None:
    values = columns()
    values["large"] = np.where(np.arange(420) == 7, value, values["large"].astype(float))
    with pytest.raises(TrainingError, match=message):
        data_of(TWO, values)


@pytest.mark.parametrize("value", [2.5, 0.1])  # whose mean is not 0.1 in float32
@pytest.mark.parametrize("task", [TWO, Regress(columns=("small",))], ids=["two", "one"])
def test_a_column_of_one_value_is_refused(task: Task, value: float) -> None:
    values = {**columns(), "small": np.full(420, value)}
    with pytest.raises(TrainingError, match="small has one value in the training split"):
        data_of(task, values)


@pytest.mark.parametrize("task", [TWO, Contrast(columns=("large", "small"))], ids=lambda t: t.kind)
def test_a_single_training_network_teaches_no_number(task: Task) -> None:
    data = data_of(task, columns())
    with pytest.raises(TrainingError, match="train_on: large, small has one value in the training"):
        task.build(MlpNetwork(hidden=(8,)), data.only(1))


def test_text_is_no_number() -> None:
    with pytest.raises(TrainingError, match="'large' for 420 of 420"):
        data_of(TWO, {**columns(), "large": np.full(420, "a")})


def test_mixed_networks_have_mixed_numbers() -> None:
    data = data_of(TWO, columns())
    rows, source = torch.arange(8), torch.Generator().manual_seed(0)
    theta, target = TWO.batch(data, rows, Augmentation(mixup=1.0), source)
    low, high = data.target[:8].min(0).values, data.target[:8].max(0).values
    assert ((target >= low) & (target <= high)).all()
    assert not torch.equal(target, data.target[:8])
    share = (theta - data.theta[:8]).norm(dim=1) / data.theta[:8].norm(dim=1)
    assert (share > 0).any()


def test_the_same_seed_gives_the_same_metrics() -> None:
    data = data_of(TWO, columns())
    settings = Training(epochs=3, batch_size=50, augment=Augmentation(permutation=True))
    first, second = (loop.train(MlpNetwork(hidden=(8,)), data, settings, 1) for _ in range(2))
    assert first.test == second.test


def test_fewer_networks_are_the_first_ones_and_the_other_splits_stay() -> None:
    data = data_of(TWO, columns())
    few = data.only(20)
    assert torch.equal(few.rows["train"], data.rows["train"][:20])
    assert few.rows["test"] is data.rows["test"]
    with pytest.raises(TrainingError, match="train_on: got 301, but the training split has 300"):
        data.only(301)


@pytest.mark.parametrize("split", ["val", "test"])
def test_accuracies_of_one_value_are_refused_in_every_split(split: str) -> None:
    data = data_of(TWO, columns())
    accuracy = np.linspace(0, 1, 420)
    accuracy[data.rows[split].numpy()] = 0.5
    with pytest.raises(TrainingError, match=f"test_accuracy has one value in the {split} split"):
        data_of(PredictAccuracy(), {"test_accuracy": accuracy})


def test_a_seed_whose_metric_is_not_known_does_not_hide_the_others() -> None:
    assert TWO.main.text([1.0, float("nan")]) == "nan ± nan"


def test_the_best_epoch_has_the_least_error() -> None:
    data = data_of(TWO, columns())
    settings = Training(epochs=6, batch_size=50, learning_rate=0.03)
    outcome = loop.train(MlpNetwork(hidden=(8,)), data, settings, 0)
    assert outcome.validation["val_mse"] == min(r["val_mse"] for r in outcome.history)


def test_a_metric_that_is_not_known_is_the_worst() -> None:
    unknown = {"r2": float("nan"), "mse": float("nan"), "loss": 0.0}
    assert loop.merit(TWO, unknown) < loop.merit(TWO, {"r2": -9.0, "mse": 9e9, "loss": 1.0})


def test_more_workers_than_networks_in_a_batch_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(loop, "worker", lambda: (0, 8))
    data = replace(data_of(TWO, columns()))
    expected = r"a batch has 4 network\(s\) \(training.batch_size 4, \d+ training networks\)"
    with pytest.raises(ValueError, match=f"--workers-per-model: got 8, but {expected}"):
        loop.train(MlpNetwork(hidden=(8,)), data, Training(batch_size=4), 0)
