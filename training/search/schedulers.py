"""Which trials of a search are stopped, and which take over from others: Ray Tune's schedulers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)

from training.search.ledger import Trial
from training.search.ray_trial import EPOCH, SCORE, TRIAL
from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Space

PERTURBED = 1.2  # a number of a population's settings is multiplied or divided by this
DRAWN_ANEW = 0.25  # or drawn anew, with this probability


def scheduler(
    space: Space, settings: Tuning, objective: Objective, epochs: int, ended: list[Trial]
) -> TrialScheduler:
    """The scheduler of a search's method.

    Args:
        space: of the search.
        settings: how it is made.
        objective: of the search.
        epochs: of the longest trial.
        ended: trials of earlier commands, which the others are compared to.
    """
    if settings.method == "random":
        return FIFOScheduler()
    if settings.method == "optuna":
        return _Halving(
            space,
            objective,
            ended,
            time_attr=EPOCH,
            max_t=epochs + 1,  # a trial ends by itself
            grace_period=min(settings.min_epochs, epochs),
            reduction_factor=settings.reduction,
        )
    return _Population(
        time_attr=EPOCH,
        perturbation_interval=settings.interval,
        synch=True,  # members wait for each other: who is compared does not depend on who is quick
        perturbation_factors=(PERTURBED, 1 / PERTURBED),
        resample_probability=DRAWN_ANEW,
        require_attrs=False,
        log_config=False,
        hyperparam_mutations={TRIAL: {"params": {d.key: _domain(d) for d in space.dimensions}}},
        custom_explore_fn=lambda config: _brought_inside(space, config),
    )


class _Halving(ASHAScheduler):
    """ASHA; but the config's own values are trained to their end: all others are compared to them.

    Args:
        space: of the search.
        objective: of the search.
        ended: trials of earlier commands: it learns of them as it learned of them then.
        options: of ASHA.
    """

    def __init__(
        self, space: Space, objective: Objective, ended: list[Trial], **options: Any
    ) -> None:
        super().__init__(**options)
        self.space, self.objective, self.ended = space, objective, ended

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called once, when Tune is about to begin."""
        if not super().set_search_properties(metric, mode, **spec):
            return False
        nobody: Any = None  # is asked
        for trial in self.ended:
            past: Any = SimpleNamespace(
                trial_id=f"ended-{trial.number}", config={TRIAL: {"params": trial.params}}
            )
            self.on_trial_add(nobody, past)
            values: list[float] = []
            for epoch, value in trial.curve:
                values.append(value)
                if (best := self.objective.best(values)) is not None:
                    self.on_trial_result(nobody, past, {EPOCH: epoch, SCORE: best})
            self.on_trial_remove(nobody, past)
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """What ASHA says, in most cases."""
        said: str = super().on_trial_result(tune_controller, trial, result)
        spared = trial.config[TRIAL]["params"] == self.space.default
        return TrialScheduler.CONTINUE if spared else said


class _Population(PopulationBasedTraining):
    """Population-based training whose members keep their numbers when they take over settings."""

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> Any:
        config, told = super()._get_new_config(trial, trial_to_clone)
        config[TRIAL]["number"] = trial.config[TRIAL]["number"]
        return config, told


def _domain(dimension: Dimension) -> Any:
    """A dimension as Tune knows it."""
    if dimension.range.choice is not None:
        return list(dimension.range.choice)
    low, high = dimension.range.bounds
    return tune.uniform(low, high) if dimension.range.uniform else tune.loguniform(low, high)


def _brought_inside(space: Space, config: dict[str, Any]) -> dict[str, Any]:
    """What a population's settings have become, within their ranges."""
    params = dict(config[TRIAL]["params"])
    for dimension in space.dimensions:
        if dimension.range.choice is None:
            params[dimension.key] = dimension.nearest(params[dimension.key])
    return {TRIAL: {**config[TRIAL], "params": params}}
