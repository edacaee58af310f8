"""How a search is made: the part ``tune`` of a config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from training.checks import check_positive
from zoo_gen import ConfigError

TRIALS = 30


@dataclass(frozen=True)
class Tuning:
    """How a search is made.

    Attributes:
        model: of the config, that is trained; None where only one has values to search.
        method: ``"optuna"`` (Optuna's tree-structured Parzen estimator, trials that fall behind
            are stopped by ASHA), ``"random"`` (each draw for itself, all trained to their end), or
            ``"population"`` (all trials train at once, and those behind take over weights and
            settings of those ahead).
        trials: how many; None for 30, or for as many as ``minutes`` allow. A population, whose
            members train at once, has 30 then too: minutes end it, but do not tell how many.
        minutes: after which the search ends, over all commands that continued it.
        metric: of validation data that is made best; None for the task's own.
        seed: of the draws.
        at_once: trials side by side at most; None for as many as CPUs and GPUs allow.
        cpus: of a trial; below 1, several share a CPU.
        gpus: of a trial; below 1, several share a GPU.
        min_epochs: before which no trial is stopped.
        reduction: one of so many trials goes on at each of ASHA's looks.
        interval: epochs between two exchanges of a population.
    """

    model: str | None = None
    method: Literal["optuna", "random", "population"] = "optuna"
    trials: int | None = None
    minutes: float | None = None
    metric: str | None = None
    seed: int = 0
    at_once: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    min_epochs: int = 3
    reduction: int = 3
    interval: int = 3

    def __post_init__(self) -> None:
        for key in ("trials", "minutes", "at_once", "cpus", "min_epochs", "interval"):
            if (value := getattr(self, key)) is not None:
                check_positive(key, value)
        if not 0 <= self.gpus < math.inf:
            raise ConfigError(f"gpus: got {self.gpus}, expected 0 or more")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigError(f"gpus: got {self.gpus}, expected a share of one, or whole ones")
        if self.reduction < 2:
            raise ConfigError(f"reduction: got {self.reduction}, expected 2 or more")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed: got {self.seed}, expected a whole number from 0 to 2^32-1")

    @property
    def budget(self) -> float:
        """Trials at most."""
        endless = self.minutes is not None and self.method != "population"
        return self.trials or (math.inf if endless else TRIALS)


@dataclass(frozen=True)
class Objective:
    """What a search makes best.

    Attributes:
        metric: as each epoch's record names it; of validation data.
        greater: whether more is better.
    """

    metric: str
    greater: bool

    @property
    def mode(self) -> Literal["max", "min"]:
        """As libraries say it."""
        return "max" if self.greater else "min"

    def best(self, values: list[float]) -> float | None:
        """Of some values the best; None of none."""
        known = [v for v in values if math.isfinite(v)]
        return (max if self.greater else min)(known, default=None)
