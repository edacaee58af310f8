"""Which values the next trial has."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from spaces import ACCURACY, HIDDEN, LAYERS, RATE, SPACE

from training.search.sampler import Sampler, importances
from training.search.space import Params, Space
from training.search.trials import Trial

# drawn by seed 0 before the search was rewritten: a search of that time continues as it would have
DRAWN = {
    1: {"lr": 0.004267905801362681, "layers": 3, "hidden": (16, 8)},
    2: {"lr": 0.06964609494409436, "layers": 2, "hidden": (8,)},
    12: {"lr": 0.004851332532393142, "layers": 5, "hidden": (16, 8)},
    20: {"lr": 0.001662318720492708, "layers": 4, "hidden": (8,)},
    34: {"lr": 0.0008301819484270164, "layers": 4, "hidden": (16, 8)},
}


def drawn(sampler: Sampler, trials: list[Trial]) -> Params:
    params = sampler.draw(len(trials), trials)
    assert params is not None
    return params


def searched(sampler: Sampler, trials: int) -> list[Trial]:
    """Trials whose value is the better, the nearer 1e-3 and the fewer layers; some are stopped,
    some fail.
    """
    found: list[Trial] = []
    for number in range(trials):
        params = drawn(sampler, found)
        value = -abs(math.log10(params["lr"]) + 3) - params["layers"] / 10
        outcomes: Any = ("done", "stopped", "done", "failed")
        status, curve = outcomes[number % 4], ((1, value - 0.2), (2, value))
        found.append(Trial(number, params, status, () if status == "failed" else curve))
    return found


def test_the_draws_of_a_seed_stay(sampler: Sampler) -> None:
    trials = searched(sampler, 35)
    for number, params in DRAWN.items():
        assert trials[number].params == {**params, "lr": pytest.approx(params["lr"])}


def test_the_first_trial_has_the_configs_own_values(sampler: Sampler) -> None:
    assert sampler.draw(0, []) == SPACE.default


def test_draws_are_in_the_space(sampler: Sampler) -> None:
    for trial in searched(sampler, 30):
        assert all(d.range.contains(trial.params[d.key]) for d in SPACE.dimensions)
        assert isinstance(trial.params["layers"], int)


def test_no_point_is_drawn_twice_and_an_exhausted_space_gives_none() -> None:
    small = Sampler(Space((LAYERS, HIDDEN)), ACCURACY, learning=True, seed=0)
    trials: list[Trial] = []
    while (params := small.draw(len(trials), trials)) is not None:
        # of one that runs, of one that failed, and of one that is done
        status: Any = ("running", "failed", "done")[len(trials) % 3]
        trials.append(Trial(len(trials), params, status, ((1, 0.5),)))
    assert len({str(trial.params) for trial in trials}) == len(trials) == 8


def test_a_continued_search_draws_as_an_uninterrupted_one(sampler: Sampler) -> None:
    whole = searched(sampler, 14)
    continued = Sampler(SPACE, ACCURACY, learning=True, seed=0)
    assert continued.draw(13, reversed(whole[:13])) == whole[13].params


def test_another_seed_draws_others() -> None:
    first = [Trial(0, SPACE.default)]
    one, two = (Sampler(SPACE, ACCURACY, learning=False, seed=seed) for seed in (0, 1))
    assert drawn(one, first) != drawn(two, first)


def distance(learning: bool, status: Literal["done", "stopped"]) -> float:
    """Mean distance of the later draws from the best learning rate, 1e-3, in powers of ten."""
    sampler = Sampler(Space((RATE,)), ACCURACY, learning, seed=0)
    far: list[float] = []
    trials: list[Trial] = []
    for number in range(30):
        params = drawn(sampler, trials)
        far.append(abs(math.log10(params["lr"]) + 3))
        trials.append(Trial(number, params, status, ((1, -far[-1]),)))
    return sum(far[15:]) / 15


@pytest.mark.parametrize("status", ["done", "stopped"])
def test_outcomes_guide_the_draws(status: Literal["done", "stopped"]) -> None:
    assert distance(True, status) < 0.5 * distance(False, status)


def test_importance_names_what_matters() -> None:
    sampler = Sampler(SPACE, ACCURACY, learning=False, seed=0)
    trials: list[Trial] = []
    for number in range(40):
        params = drawn(sampler, trials)
        trials.append(Trial(number, params, "done", ((1, math.log10(params["lr"])),)))
    shares = importances(SPACE, ACCURACY, trials)
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.9


def test_few_trials_or_equal_ones_have_no_importance(sampler: Sampler) -> None:
    points = [trial.params for trial in searched(sampler, 20)]
    few = [Trial(n, points[n], "done", ((1, n / 7),)) for n in range(7)]
    alike = [Trial(n, params, "done", ((1, 0.5),)) for n, params in enumerate(points)]
    assert importances(SPACE, ACCURACY, few) == importances(SPACE, ACCURACY, alike) == {}
