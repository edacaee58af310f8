"""The record of a search on disk."""

from __future__ import annotations

import pytest
from spaces import ACCURACY
from training.search.ledger import Ledger, Trial

from zoo_gen import StorageError

DONE = Trial(1, {"lr": 0.1, "hidden": (16, 8)}, "done", ((1, 0.25), (2, 0.5)), 3.5)
FAILED = Trial(0, {"lr": 0.2}, "failed", reason="the loss is nan")


def test_trials_come_back_as_they_were_by_number(ledger: Ledger) -> None:
    ledger.write(DONE)
    ledger.write(FAILED)
    assert ledger.read() == [FAILED, DONE]


def test_a_trial_is_kept_once(ledger: Ledger) -> None:
    ledger.write(Trial(1, DONE.params))
    ledger.write(DONE)
    assert ledger.read() == [DONE]


def test_a_record_that_is_none_is_named(ledger: Ledger) -> None:
    ledger.write(DONE)
    ledger.store.publish("searches/test/trials/00001.json", b'{"number": 1}')
    with pytest.raises(StorageError, match=r"trials/00001.json is not a trial's record.*delete it"):
        ledger.read()


def test_minutes_are_kept(ledger: Ledger) -> None:
    assert ledger.minutes() == 0
    ledger.spend(2.5)
    assert ledger.minutes() == 2.5


def test_the_value_of_a_trial_is_that_of_its_best_epoch() -> None:
    falling = Trial(0, {}, "done", ((1, 0.75), (2, 0.5)))
    assert falling.best(ACCURACY) == 0.75


def test_a_trial_is_told_by_the_last_words_of_its_keys() -> None:
    trial = Trial(0, {"models.m.training.learning_rate": 0.00123456, "models.m.network.n": (8, 4)})
    assert trial.text() == "learning_rate 0.00123, n [8, 4]"


def test_a_trial_that_failed_has_no_value() -> None:
    assert Trial(0, {}, "failed", ((1, 0.75),), reason="x").best(ACCURACY) is None
