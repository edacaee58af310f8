"""Which values the next trial has: the one door to Optuna.

A draw is a pure function of the space, the seed, the number of the trial and the record of the
others. There is no state to restore: each draw builds an in-memory study from the record.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from training.search.settings import Objective
from training.search.space import Dimension, Params, Space
from training.search.trials import Trial

ATTEMPTS = 100  # to find a point that was not tried yet
FEWEST = 8  # trials, for an importance to mean something
STATES = {
    "done": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
optuna.logging.set_verbosity(optuna.logging.ERROR)
logging.getLogger("optuna").propagate = False


class Sampler:
    """Draws points of a space, each different from all before.

    Args:
        space: of the search.
        objective: of the search.
        learning: whether outcomes guide the draws (Optuna's TPE), or draws are independent.
        seed: of the draws.
    """

    def __init__(self, space: Space, objective: Objective, learning: bool, seed: int) -> None:
        self.space, self.objective = space, objective
        self.learning, self.seed = learning, seed
        self.distributions = {d.key: _distribution(d) for d in space.dimensions}

    def draw(self, number: int, trials: Iterable[Trial]) -> Params | None:
        """The values of the trial with this number; None if all points were tried.

        Args:
            number: of the new trial.
            trials: all others. Those that have ended guide the draw; none is drawn again.
        """
        others = sorted(trials, key=lambda trial: trial.number)
        seen = {_key(trial.params) for trial in others}
        if len(seen) >= self.space.size:
            return None
        study = self.study([t for t in others if t.ended] if self.learning else [])
        if number == 0 and self.space.default:
            study.enqueue_trial(self._encoded(self.space.default))
        for attempt in range(ATTEMPTS):
            study.sampler = self._seeded(number, attempt)
            params = self._decoded(study.ask(self.distributions).params)
            if _key(params) not in seen:
                return params
        return None

    def study(self, ended: Iterable[Trial], state: TrialState | None = None) -> optuna.Study:
        """These trials as an Optuna study, in the state of their status, or all in one state."""
        study = optuna.create_study(direction="maximize" if self.objective.greater else "minimize")
        study.add_trials(self._frozen(trial, state or STATES[trial.status]) for trial in ended)
        return study

    def _seeded(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = (self.seed * 1_000_003 + number * ATTEMPTS + attempt) % 2**32
        if not self.learning:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _frozen(self, trial: Trial, state: TrialState) -> FrozenTrial:
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
        """With the index of a choice in place of the choice, which Optuna may not accept."""
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


def importances(space: Space, objective: Objective, trials: list[Trial]) -> dict[str, float]:
    """Share of the variance between trials that each key explains, the greatest first.

    By fANOVA (Hutter et al. 2014), over all trials that have a value, stopped ones too. Empty if
    there are too few of them.
    """
    known = [trial for trial in trials if trial.best(objective) is not None]
    if len(known) < FEWEST or len({trial.best(objective) for trial in known}) < 2:
        return {}
    study = Sampler(space, objective, learning=False, seed=0).study(known, TrialState.COMPLETE)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.range.choice is not None:
        return CategoricalDistribution(tuple(range(len(dimension.range.choice))))
    (low, high), log = dimension.range.bounds, dimension.range.log_uniform is not None
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)
