"""What Ray Tune's schedulers are told of earlier commands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from training.search.ledger import Trial
from training.search.ray_trial import EPOCH, SCORE, TRIAL
from training.search.schedulers import scheduler

from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Range, Space

ACCURACY = Objective("val_accuracy", greater=True)
SPACE = Space((Dimension(("rate",), Range(uniform=(0, 1)), default=0.5),))
GOOD = [Trial(n, {"rate": n / 10}, "done", ((1, 0.8), (2, 0.6))) for n in range(3)]


def said(ended: list[Trial], value: float, rate: float = 0.25, **settings: Any) -> str:
    """What is said to a new trial with this value after its first epoch."""
    tuning = Tuning(min_epochs=1, reduction=2, **settings)
    asha: Any = scheduler(SPACE, tuning, ACCURACY, 8, ended)
    assert asha.set_search_properties(SCORE, "max")
    new = SimpleNamespace(trial_id="new", config={TRIAL: {"params": {"rate": rate}}})
    asha.on_trial_add(None, new)
    answer: str = asha.on_trial_result(None, new, {EPOCH: 1, SCORE: value})
    return answer


@pytest.mark.parametrize(("value", "answer"), [(0.7, "STOP"), (0.9, "CONTINUE")])
def test_a_trial_is_compared_to_those_of_earlier_commands(value: float, answer: str) -> None:
    assert said(GOOD, value) == answer


def test_the_first_trial_goes_on() -> None:
    assert said([], 0.1) == "CONTINUE"


def test_the_configs_own_values_are_trained_to_their_end() -> None:
    assert said(GOOD, 0.1, rate=0.5) == "CONTINUE"
