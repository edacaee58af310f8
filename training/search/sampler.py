"""What is tried next: the one door to Optuna."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from training.search.ledger import Trial
from training.search.settings import Objective
from training.search.space import Dimension, Params, Space

ATTEMPTS = 100  # at a point that was not tried yet
FEWEST = 8  # trials, for shares of their differences to mean something
STATES = {
    "done": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
optuna.logging.set_verbosity(optuna.logging.ERROR)
logging.getLogger("optuna").propagate = False


class Sampler:
    """Draws points of a space, each different, and learns from their outcomes.

    What is drawn depends on the seed, the number of the trial and what was learned: a search that
    was interrupted does not draw again what it drew before.

    Args:
        space: of the search.
        objective: of the search.
        learning: whether outcomes guide the draws (Optuna's TPE), or each draw is for itself.
        seed: of the draws.
    """

    def __init__(self, space: Space, objective: Objective, learning: bool, seed: int) -> None:
        self.space, self.objective = space, objective
        self.learning, self.seed = learning, seed
        self.distributions = {d.key: distribution(d) for d in space.dimensions}
        self.study = _study(objective)
        self.asked: dict[int, optuna.Trial] = {}
        self.seen: set[str] = set()

    def learn(self, trial: Trial) -> None:
        """Take in a trial that ended before."""
        self.seen.add(_key(trial.params))
        self.study.add_trial(self.frozen(trial, STATES[trial.status]))

    def expect(self, trial: Trial) -> None:
        """Take in a trial that began before and goes on."""
        self.seen.add(_key(trial.params))
        self.study.enqueue_trial(self._encoded(trial.params))
        self.asked[trial.number] = self.study.ask(self.distributions)

    def ask(self, number: int) -> Params | None:
        """The point of the trial with this number; None where all were tried."""
        if len(self.seen) >= self.space.size:
            return None
        if number == 0 and self.space.default:
            self.study.enqueue_trial(self._encoded(self.space.default))
        for attempt in range(ATTEMPTS):
            self.study.sampler = self._seeded(number, attempt)
            asked = self.study.ask(self.distributions)
            params = self._decoded(asked.params)
            if (key := _key(params)) not in self.seen:
                self.seen.add(key)
                self.asked[number] = asked
                return params
            self.study.tell(asked, state=TrialState.FAIL)
        return None

    def tell(self, trial: Trial) -> None:
        """Learn the outcome of a trial that was asked for."""
        asked, state = self.asked.pop(trial.number), STATES[trial.status]
        value = trial.best(self.objective)
        if value is None:
            state = TrialState.FAIL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for epoch, each in trial.curve:
                asked.report(each, epoch)
        self.study.tell(asked, value if state == TrialState.COMPLETE else None, state)

    def _seeded(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = (self.seed * 1_000_003 + number * ATTEMPTS + attempt) % 2**32
        if not self.learning:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def frozen(self, trial: Trial, state: TrialState) -> optuna.trial.FrozenTrial:
        """A trial that ended, as Optuna knows it."""
        value = trial.best(self.objective)
        if value is None:
            state = TrialState.FAIL
        return optuna.trial.create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=self._encoded(trial.params),
            distributions=self.distributions,
            intermediate_values=dict(trial.curve),
        )

    def _encoded(self, params: Params) -> dict[str, Any]:
        """With the index of a choice instead of the choice, which Optuna may not take."""
        return {
            d.key: d.range.choice.index(params[d.key])
            if d.range.choice is not None
            else params[d.key]
            for d in self.space.dimensions
            if d.key in params
        }

    def _decoded(self, params: dict[str, Any]) -> Params:
        return {
            d.key: d.range.choice[params[d.key]] if d.range.choice is not None else params[d.key]
            for d in self.space.dimensions
        }


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna knows it."""
    if dimension.range.choice is not None:
        return CategoricalDistribution(tuple(range(len(dimension.range.choice))))
    (low, high), log = dimension.range.bounds, dimension.range.log_uniform is not None
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def importances(space: Space, objective: Objective, trials: list[Trial]) -> dict[str, float]:
    """Share of the differences between trials that each key explains, the greatest first.

    By fANOVA (Hutter et al. 2014), over all trials that have a value, stopped ones too. Empty where
    there are too few of them to tell.
    """
    known = [trial for trial in trials if trial.best(objective) is not None]
    if len(known) < FEWEST or len({trial.best(objective) for trial in known}) < 2:
        return {}
    sampler = Sampler(space, objective, learning=False, seed=0)
    for trial in known:
        sampler.study.add_trial(sampler.frozen(trial, TrialState.COMPLETE))
    return optuna.importance.get_param_importances(
        sampler.study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )


def _study(objective: Objective) -> optuna.Study:
    return optuna.create_study(direction="maximize" if objective.greater else "minimize")


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)
