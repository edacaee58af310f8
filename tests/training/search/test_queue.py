"""Which trial is next, and what is recorded of it."""

from __future__ import annotations

from dataclasses import replace

from spaces import ACCURACY, HIDDEN, SPACE

from training.search.queue import TrialQueue
from training.search.sampler import Sampler
from training.search.settings import Tuning
from training.search.space import Space
from training.search.trials import Trial, TrialStore


def begin(queue: TrialQueue) -> Trial:
    trial = queue.next()
    assert trial is not None
    return trial


def end(queue: TrialQueue, trial: Trial, value: float = 0.5) -> Trial:
    return queue.end(replace(trial, status="done", curve=((1, value),)))


def test_a_queue_ends_with_its_budget(trials: TrialStore, sampler: Sampler) -> None:
    queue = TrialQueue(trials, sampler, budget=2)
    end(queue, begin(queue))
    end(queue, begin(queue))
    assert queue.next() is None
    assert queue.empty


def test_a_trial_is_on_disk_before_it_begins(trials: TrialStore, sampler: Sampler) -> None:
    trial = begin(TrialQueue(trials, sampler, budget=2))
    assert trials.read() == [trial]


def test_interrupted_trials_continue_first_and_none_is_repeated(
    trials: TrialStore, sampler: Sampler
) -> None:
    queue = TrialQueue(trials, sampler, budget=5)
    first, second = begin(queue), begin(queue)
    end(queue, first)
    again = TrialQueue(trials, sampler, budget=5)
    assert begin(again) == second
    assert [begin(again).number for _ in range(3)] == [2, 3, 4]
    assert again.next() is None
    assert len({str(t.params) for t in again.trials.values()}) == 5


def test_a_greater_budget_extends_a_finished_search(trials: TrialStore, sampler: Sampler) -> None:
    queue = TrialQueue(trials, sampler, budget=1)
    end(queue, begin(queue))
    assert begin(TrialQueue(trials, sampler, budget=2)).number == 1


def test_an_exhausted_space_ends_the_search(trials: TrialStore) -> None:
    queue = TrialQueue(trials, Sampler(Space((HIDDEN,)), ACCURACY, True, 0), budget=9)
    end(queue, begin(queue))
    end(queue, begin(queue))
    assert queue.next() is None
    assert queue.empty


def test_minutes_count_over_all_commands(trials: TrialStore, sampler: Sampler) -> None:
    trials.write_minutes(3.0)
    assert TrialQueue(trials, sampler, budget=9, minutes=2.0).next() is None
    assert TrialQueue(trials, sampler, budget=9, minutes=4.0).next() is not None


def test_minutes_alone_are_a_budget(trials: TrialStore) -> None:
    sampler = Sampler(SPACE, ACCURACY, learning=False, seed=0)
    settings = Tuning(minutes=1.0)
    queue = TrialQueue(trials, sampler, settings.budget, settings.minutes)
    for _ in range(31):  # more than the default number of trials
        end(queue, begin(queue))
    queue.began -= 60
    assert queue.empty
    assert queue.next() is None


def test_a_trial_without_a_finite_value_has_failed(trials: TrialStore, sampler: Sampler) -> None:
    queue = TrialQueue(trials, sampler, budget=1)
    ended = end(queue, begin(queue), float("nan"))
    assert (ended.status, ended.reason) == ("failed", "val_accuracy was never a finite number")


def test_the_checkpoint_of_a_trial_is_removed_as_it_ends(
    trials: TrialStore, sampler: Sampler
) -> None:
    queue = TrialQueue(trials, sampler, budget=1)
    trial = begin(queue)
    trials.store.publish(trials.checkpoint(trial.number), b"state")
    end(queue, trial)
    assert not trials.store.exists(trials.checkpoint(trial.number))
