"""Values that are drawn: written beside what they vary, as ``{log_uniform: [1e-4, 1e-2]}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import exp, isfinite, log

import numpy as np

from zoo_gen.errors import ConfigError

Value = int | float | str


@dataclass(frozen=True)
class Draw:
    """A value that is drawn anew for each of many: exactly one of these.

    Attributes:
        uniform: from (least, most), each number equally likely.
        log_uniform: from (least, most), each order of magnitude equally likely; both above 0.
        choice: from these values, each equally likely.
    """

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    choice: tuple[Value, ...] | None = None

    def __post_init__(self) -> None:
        told = [k for k in ("uniform", "log_uniform", "choice") if getattr(self, k) is not None]
        if len(told) != 1:
            raise ConfigError(
                f"uniform, log_uniform or choice: got {' and '.join(told) or 'none'}, expected "
                "exactly one, for example {log_uniform: [0.0001, 0.01]}"
            )
        if self.choice is not None:
            if not self.choice or len(set(self.choice)) < len(self.choice):
                raise ConfigError(f"choice: got {_plain(self.choice)}, expected different values")
            return
        low, high = self.bounds
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ConfigError(
                f"{told[0]}: got {_plain((low, high))}, expected two numbers, the smaller first"
            )
        if self.log_uniform is not None and low <= 0:
            raise ConfigError(f"log_uniform: got {_plain((low, high))}, expected numbers above 0")

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that a range can give; not for a choice."""
        bounds = self.uniform or self.log_uniform
        assert bounds is not None
        return bounds

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that are allowed if, and only if, all that can be drawn is."""
        return self.bounds if self.choice is None else self.choice

    def sample(self, generator: np.random.Generator) -> Value:
        """One value."""
        if self.choice is not None:
            return self.choice[int(generator.integers(len(self.choice)))]
        low, high = self.bounds
        share = float(generator.random())
        if self.uniform is not None:
            return low + (high - low) * share
        return min(high, max(low, exp(log(low) + (log(high) - log(low)) * share)))


def extremes(value: Value | Draw) -> tuple[Value, ...]:
    """What a setting can be, at the least and at the most, or all of a choice."""
    return value.extremes if isinstance(value, Draw) else (value,)


def sampled(value: Value | Draw, generator: np.random.Generator) -> Value:
    """A setting as it is, or drawn."""
    return value.sample(generator) if isinstance(value, Draw) else value


def _plain(values: tuple[Value, ...]) -> str:
    return json.dumps(list(values))
