"""What is tried next."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from spaces import ACCURACY, HIDDEN, LAYERS, RATE, SPACE
from training.search.ledger import Trial

from training.search.sampler import Sampler, importances
from training.search.space import Params, Space


def ended(number: int, params: Params, value: float) -> Trial:
    return Trial(number, params, "done", ((1, value),))


def asked(sampler: Sampler, number: int) -> Params:
    params = sampler.ask(number)
    assert params is not None
    return params


def test_the_first_trial_has_the_configs_own_values(sampler: Sampler) -> None:
    assert sampler.ask(0) == SPACE.default


def test_what_is_drawn_is_in_the_space(sampler: Sampler) -> None:
    for number in range(40):
        params = asked(sampler, number)
        assert all(d.admits(params[d.key]) for d in SPACE.dimensions)
        assert isinstance(params["layers"], int)


def test_no_point_is_drawn_twice_and_the_last_one_is_told() -> None:
    small = Sampler(Space((LAYERS, HIDDEN)), ACCURACY, learning=True, seed=0)
    drawn = [small.ask(number) for number in range(9)]
    assert len({str(params) for params in drawn}) == 9
    assert drawn.index(None) == 8


def test_a_search_that_goes_on_draws_what_it_had_not() -> None:
    first = Sampler(SPACE, ACCURACY, learning=False, seed=0)
    drawn = [asked(first, number) for number in range(6)]
    second = Sampler(SPACE, ACCURACY, learning=False, seed=0)
    for number, params in enumerate(drawn[:3]):
        second.learn(ended(number, params, 0.5))
    assert [asked(second, number) for number in range(3, 6)] == drawn[3:]


def test_another_seed_draws_others() -> None:
    one, two = (Sampler(SPACE, ACCURACY, learning=False, seed=seed) for seed in (0, 1))
    assert asked(one, 1) != asked(two, 1)


def distance(learning: bool, status: Literal["done", "stopped"]) -> float:
    """Mean distance of the later draws from the best learning rate, 1e-3, in powers of ten."""
    sampler = Sampler(Space((RATE,)), ACCURACY, learning, seed=0)
    far = []
    for number in range(40):
        params = asked(sampler, number)
        far.append(abs(math.log10(params["lr"]) + 3))
        sampler.tell(Trial(number, params, status, ((1, -far[-1]),)))
    return sum(far[20:]) / 20


@pytest.mark.parametrize("status", ["done", "stopped"])
def test_outcomes_guide_the_draws(status: Literal["done", "stopped"]) -> None:
    assert distance(True, status) < 0.5 * distance(False, status)


def test_a_trial_that_goes_on_is_not_drawn_again() -> None:
    small = Space((HIDDEN,))
    sampler = Sampler(small, ACCURACY, learning=True, seed=0)
    sampler.expect(Trial(0, {"hidden": (8,)}))
    assert sampler.ask(1) == {"hidden": (16, 8)}
    sampler.tell(ended(0, {"hidden": (8,)}, 0.5))


def test_a_failed_trial_teaches_nothing_and_is_not_drawn_again() -> None:
    sampler = Sampler(Space((HIDDEN,)), ACCURACY, learning=True, seed=0)
    sampler.learn(Trial(0, {"hidden": (8,)}, "failed", reason="x"))
    assert sampler.ask(1) == {"hidden": (16, 8)}


def test_importance_names_what_matters() -> None:
    trials = []
    sampler = Sampler(SPACE, ACCURACY, learning=False, seed=0)
    for number in range(40):
        params = asked(sampler, number)
        trials.append(ended(number, params, math.log10(params["lr"])))
    shares = importances(SPACE, ACCURACY, trials)
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.9


def test_importance_is_not_told_of_trials_that_are_few_or_alike(sampler: Sampler) -> None:
    few = [ended(number, asked(sampler, number), number / 7) for number in range(7)]
    alike = [ended(number, asked(sampler, number), 0.5) for number in range(7, 20)]
    assert importances(SPACE, ACCURACY, few) == importances(SPACE, ACCURACY, alike) == {}
