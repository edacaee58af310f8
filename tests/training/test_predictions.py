"""How good predictions are: counted over the networks of which it is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from training.model_file import TrainedModel
from training.predictions import known, scores
from training.tasks import Classify, Output, Regress, Task

NAN = np.nan


def model(task: Task, output: Output) -> TrainedModel:
    """What scores look at."""
    return cast(TrainedModel, SimpleNamespace(task=task, output=output))


def columns(**told: Any) -> dict[str, Any]:
    split = np.array(["train", "train", "test", "test", "test"])
    return {"member": np.arange(5), "split": split, **{k: np.array(v) for k, v in told.items()}}


def test_classes_that_are_not_known_are_not_wrong() -> None:
    classifier = model(Classify(), Output("logits", 2))
    told = columns(label=[0.0, 1.0, NAN, 1.0, 0.0], prediction=[0, 1, 0, 1, 1])
    assert scores(classifier, told) == {"train": {"accuracy": 1}, "test": {"accuracy": 0.5}}
    assert known(classifier, told).tolist() == [True, True, False, True, True]


def test_a_split_of_which_nothing_is_known_has_no_score() -> None:
    classifier = model(Classify(), Output("logits", 2))
    told = columns(label=[0.0, 1.0, NAN, NAN, NAN], prediction=[0, 1, 0, 1, 1])
    assert list(scores(classifier, told)) == ["train"]
    assert scores(classifier, columns(prediction=[0, 1, 0, 1, 1])) == {}


def test_numbers_that_are_not_known_are_left_out() -> None:
    regressor = model(Regress(columns=("x",)), Output("values", 1, ("x",)))
    told = columns(x=[1.0, 2.0, NAN, 3.0, 5.0], predicted_x=[1.0, 2.0, 9.0, 3.0, 4.0])
    assert scores(regressor, told)["test"] == pytest.approx({"r2": 0.5, "mse": 0.5})
