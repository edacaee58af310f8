"""Values that are drawn: written in the place of a value, as ``{log_uniform: [1e-4, 1e-2]}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any

import numpy as np

from zoo_gen.errors import ConfigError

DISTRIBUTIONS = ("uniform", "log_uniform", "choice")
Value = int | float | str


@dataclass(frozen=True)
class Draw:
    """A value that is drawn anew for each network of a zoo, or for each trial of a search.

    Exactly one of these is given. A zoo's choices are of numbers or words; a search chooses among
    any values.

    Attributes:
        uniform: from (least, most), each number equally likely.
        log_uniform: from (least, most), each order of magnitude equally likely; both above 0.
        choice: from these values, each equally likely.
    """

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    choice: tuple[Value, ...] | None = None

    def __post_init__(self) -> None:
        given = [key for key in DISTRIBUTIONS if getattr(self, key) is not None]
        if len(given) != 1:
            raise ConfigError(
                f"uniform, log_uniform or choice: got {' and '.join(given) or 'none'}, expected "
                "exactly one, for example {log_uniform: [0.0001, 0.01]}"
            )
        if self.choice is not None:
            if not self.choice or len(set(self.choice)) < len(self.choice):
                raise ConfigError(f"choice: got {_text(self.choice)}, expected different values")
            return
        low, high = self.bounds
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ConfigError(
                f"{given[0]}: got {_text((low, high))}, expected two numbers, the smaller first"
            )
        if self.log_uniform is not None and low <= 0:
            raise ConfigError(f"log_uniform: got {_text((low, high))}, expected numbers above 0")

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Draw:
        """From plain data, as a YAML or JSON file has it.

        Raises:
            ConfigError: a key or a value of another kind; begins with the key.
        """
        given = {key: value for key, value in plain.items() if value is not None}
        for key, value in given.items():
            if key not in DISTRIBUTIONS:
                raise ConfigError(f"{key}: unknown key; allowed: {', '.join(DISTRIBUTIONS)}")
            good, expected = _two_numbers(value), "[least, most], two numbers"
            if key == "choice":
                good, expected = _list_of_values(value), "a list of values"
            if not good:
                raise ConfigError(f"{key}: got {json.dumps(value)}, expected {expected}")
        return cls(**{key: tupled(value) for key, value in given.items()})

    @property
    def distribution(self) -> str:
        """``"uniform"``, ``"log_uniform"`` or ``"choice"``."""
        return next(key for key in DISTRIBUTIONS if getattr(self, key) is not None)

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

    def contains(self, value: Any) -> bool:
        """Whether this value can be drawn."""
        if self.choice is not None:
            return value in self.choice
        low, high = self.bounds
        return _is_number(value) and low <= value <= high

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
    """The bounds or choices of a draw; a fixed value alone."""
    return value.extremes if isinstance(value, Draw) else (value,)


def sampled(value: Value | Draw, generator: np.random.Generator) -> Value:
    """A fixed value as it is, or one that is drawn."""
    return value.sample(generator) if isinstance(value, Draw) else value


def tupled(value: Any) -> Any:
    """Lists as tuples, nested ones too, so that values can be compared and hashed."""
    return tuple(map(tupled, value)) if isinstance(value, list) else value


def _two_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of_values(value: Any) -> bool:
    try:
        hash(tupled(value))
    except TypeError:  # a mapping in it
        return False
    return isinstance(value, list | tuple)


def _text(values: tuple[Value, ...]) -> str:
    return json.dumps(list(values))
