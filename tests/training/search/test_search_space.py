"""Ranges, their defaults, and settings of a search."""

from __future__ import annotations

import math
from typing import Any

import pytest
from spaces import HIDDEN, LAYERS, RATE, SPACE

from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Space
from zoo_gen import ConfigError, Draw


def test_a_default_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^default: got 0.2, expected within \[0.0001, 0.1\]"):
        Dimension(("lr",), Draw(log_uniform=(1e-4, 1e-1)), default=0.2)


def test_a_default_that_is_not_a_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^default: got \[4\], expected one of \[\[8\], \[16, 8"):
        Dimension(("hidden",), HIDDEN.range, default=(4,))


def test_a_space_of_choices_and_whole_numbers_has_so_many_points() -> None:
    assert Space((LAYERS, HIDDEN)).size == 8
    assert SPACE.size == math.inf


def test_the_hash_of_a_space_sees_its_ranges() -> None:
    wider = Dimension(("lr",), Draw(log_uniform=(1e-4, 1)))
    assert Space((RATE,)).as_dict() != Space((wider,)).as_dict()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trials": 0}, "trials: got 0, expected more than 0"),
        ({"minutes": -1.0}, "minutes: got -1.0, expected more than 0"),
        ({"gpus": 1.5}, "gpus: got 1.5, expected a share of one, or whole ones"),
        ({"gpus": -0.5}, "gpus: got -0.5, expected 0 or more"),
        ({"reduction": 1}, "reduction: got 1, expected 2 or more"),
        ({"seed": -1}, "seed: got -1, expected a whole number from 0 to 2\\^32-1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Tuning(**wrong)


def test_the_budget_is_thirty_trials_unless_minutes_are_given() -> None:
    assert Tuning().budget == 30
    assert Tuning(minutes=5).budget == math.inf
    assert Tuning(minutes=5, trials=7).budget == 7


def test_the_best_value_is_never_nan_or_infinite() -> None:
    assert Objective("val_loss", greater=False).best([math.nan, 2.0, math.inf, 1.0]) == 1.0
    assert Objective("val_accuracy", greater=True).best([math.nan]) is None
