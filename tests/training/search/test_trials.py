"""The record of trials on disk, and which is the best."""

from __future__ import annotations

import pytest
from spaces import ACCURACY

from training.search.settings import Objective
from training.search.trials import Trial, TrialStore, best_of, ranked
from zoo_gen import StorageError

DONE = Trial(1, {"lr": 0.1, "hidden": (16, 8)}, "done", ((1, 0.25), (2, 0.5)), 3.5)
FAILED = Trial(0, {"lr": 0.2}, "failed", ((1, 0.75),), reason="the loss is nan")
RECORDED = (
    b'{"number": 1, "params": {"lr": 0.1, "hidden": [16, 8]}, "status": "done", '
    b'"curve": [[1, 0.25], [2, 0.5]], "seconds": 3.5, "reason": ""}'
)


def test_trials_are_read_as_they_were_written_by_number(trials: TrialStore) -> None:
    trials.write(Trial(1, DONE.params))
    trials.write(DONE)
    trials.write(FAILED)
    assert trials.read() == [FAILED, DONE]


def test_the_format_on_disk_stays(trials: TrialStore) -> None:
    """Searches of earlier versions are continued."""
    trials.write(DONE)
    assert trials.store.read("searches/test/trials/00001.json") == RECORDED


def test_a_file_that_is_not_a_record_is_named(trials: TrialStore) -> None:
    trials.store.publish("searches/test/trials/00001.json", b'{"number": 1}')
    with pytest.raises(StorageError, match=r"trials/00001.json is not the record of.*delete it"):
        trials.read()


def test_minutes_are_kept(trials: TrialStore) -> None:
    assert trials.minutes() == 0
    trials.write_minutes(2.5)
    assert trials.minutes() == 2.5


def test_the_value_of_a_trial_is_that_of_its_best_epoch() -> None:
    assert Trial(0, {}, "done", ((1, 0.75), (2, 0.5))).best(ACCURACY) == 0.75


def test_a_failed_trial_has_no_value() -> None:
    assert FAILED.best(ACCURACY) is None


def test_the_values_of_a_trial_are_shown_under_the_last_part_of_their_keys() -> None:
    trial = Trial(0, {"models.m.training.learning_rate": 0.00123456, "models.m.network.n": (8, 4)})
    assert trial.text() == "learning_rate 0.00123, n [8, 4]"


def test_the_first_of_equal_trials_is_the_best_and_failed_ones_are_last() -> None:
    tie = Trial(2, {}, "done", ((1, 0.5),))
    assert ranked([FAILED, DONE, tie], ACCURACY) == [DONE, tie, FAILED]
    assert best_of([FAILED], ACCURACY) is None


def test_less_is_better_for_a_loss() -> None:
    low, loss = Trial(2, {}, "done", ((1, 0.1),)), Objective("val_loss", greater=False)
    assert ranked([FAILED, DONE, low], loss) == [low, DONE, FAILED]
