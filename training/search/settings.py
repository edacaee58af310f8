"""How a search is made: the section ``tune`` of a config."""

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
        model: name of the model to search; None where only one has ranges.
        method: ``"optuna"`` (Optuna's tree-structured Parzen estimator proposes, ASHA stops trials
            that fall behind) or ``"random"`` (independent draws, all trained to the end).
        trials: how many; None for 30, or for as many as ``minutes`` allow.
        minutes: after which the search ends, summed over all commands that continued it.
        metric: of validation data, to optimise; None for the task's main metric.
        seed: of the draws.
        at_once: trials side by side at most; None for as many as CPUs and GPUs allow.
        cpus: per trial; below 1, several trials share a CPU.
        gpus: per trial; below 1, several trials share a GPU.
        min_epochs: no trial is stopped before this epoch.
        reduction: ASHA keeps one trial in this many at each rung.
    """

    model: str | None = None
    method: Literal["optuna", "random"] = "optuna"
    trials: int | None = None
    minutes: float | None = None
    metric: str | None = None
    seed: int = 0
    at_once: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    min_epochs: int = 3
    reduction: int = 3

    def __post_init__(self) -> None:
        for key in ("trials", "minutes", "at_once", "cpus", "min_epochs"):
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
        return self.trials or (TRIALS if self.minutes is None else math.inf)


@dataclass(frozen=True)
class Objective:
    """What a search optimises.

    Attributes:
        metric: its name in the record of an epoch; of validation data.
        greater: whether greater is better.
    """

    metric: str
    greater: bool

    @property
    def mode(self) -> Literal["max", "min"]:
        """The same in Ray's words."""
        return "max" if self.greater else "min"

    def best(self, values: list[float]) -> float | None:
        """The best of the finite values; None if there are none."""
        finite = [v for v in values if math.isfinite(v)]
        return (max if self.greater else min)(finite, default=None)
