"""Which trial is next, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace

from spaces import ACCURACY, HIDDEN, SPACE
from training.search.ledger import Ledger, Trial
from training.search.plan import Plan

from training.search.sampler import Sampler
from training.search.settings import Tuning
from training.search.space import Space


def taken(plan: Plan) -> Trial:
    trial = plan.next()
    assert trial is not None
    return trial


def done(plan: Plan, trial: Trial, value: float = 0.5) -> Trial:
    return plan.end(replace(trial, status="done", curve=((1, value),)))


def test_a_plan_ends_with_its_budget(ledger: Ledger, sampler: Sampler) -> None:
    plan = Plan(ledger, sampler, trials=2)
    done(plan, taken(plan))
    done(plan, taken(plan))
    assert plan.next() is None
    assert plan.over


def test_a_trial_is_on_disk_before_it_begins(ledger: Ledger, sampler: Sampler) -> None:
    trial = taken(Plan(ledger, sampler, trials=2))
    assert ledger.read() == [trial]


def test_interrupted_trials_go_on_first_and_none_is_repeated(ledger: Ledger) -> None:
    def sampler() -> Sampler:
        return Sampler(SPACE, ACCURACY, learning=True, seed=0)

    plan = Plan(ledger, sampler(), trials=5)
    first, second = taken(plan), taken(plan)
    done(plan, first)
    again = Plan(ledger, sampler(), trials=5)
    assert taken(again) == second
    later = [taken(again) for _ in range(3)]
    assert [trial.number for trial in later] == [2, 3, 4]
    assert again.next() is None
    assert len({str(t.params) for t in again.trials.values()}) == 5


def test_a_greater_budget_extends_a_search_that_ended(ledger: Ledger, sampler: Sampler) -> None:
    plan = Plan(ledger, sampler, trials=1)
    done(plan, taken(plan))
    more = Plan(ledger, Sampler(SPACE, ACCURACY, learning=True, seed=0), trials=2)
    assert taken(more).number == 1


def test_a_space_that_is_used_up_ends_the_search(ledger: Ledger) -> None:
    plan = Plan(ledger, Sampler(Space((HIDDEN,)), ACCURACY, True, 0), trials=9)
    done(plan, taken(plan))
    done(plan, taken(plan))
    assert plan.next() is None
    assert plan.over


def test_minutes_count_over_all_commands(ledger: Ledger, sampler: Sampler) -> None:
    ledger.spend(3.0)
    assert Plan(ledger, sampler, trials=9, minutes=2.0).next() is None
    assert Plan(ledger, sampler, trials=9, minutes=4.0).next() is not None


def test_minutes_alone_are_a_budget(ledger: Ledger, sampler: Sampler) -> None:
    settings = Tuning(minutes=1.0)
    plan = Plan(ledger, sampler, settings.budget, settings.minutes)
    for _ in range(40):  # more than there are by default
        done(plan, taken(plan))
    plan.began -= 60
    assert plan.over
    assert plan.next() is None


def test_a_trial_without_a_number_has_failed(ledger: Ledger, sampler: Sampler) -> None:
    plan = Plan(ledger, sampler, trials=1)
    ended = done(plan, taken(plan), float("nan"))
    assert (ended.status, ended.reason) == ("failed", "val_accuracy was never a finite number")


def test_the_state_of_a_trial_goes_as_it_ends(ledger: Ledger, sampler: Sampler) -> None:
    plan = Plan(ledger, sampler, trials=1)
    trial = taken(plan)
    ledger.store.publish(ledger.checkpoint(trial.number), b"state")
    done(plan, trial)
    assert not ledger.store.exists(ledger.checkpoint(trial.number))
