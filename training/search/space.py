"""A search space: which values of a config are searched, and their ranges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

from zoo_gen import ConfigError, Draw

Params = dict[str, Any]
"""Dotted key of the config -> value, of one trial."""


@dataclass(frozen=True)
class Dimension:
    """One value of a config that is searched.

    Attributes:
        path: keys and indices that lead to it.
        range: what it is drawn from; a choice may be of any values, lists as tuples.
        whole: whether ranges give whole numbers.
        default: the first value tried, and the value for all commands but the search; None where
            the config names none.

    Raises:
        ConfigError: a default outside the range; begins with ``default``.
    """

    path: tuple[str | int, ...]
    range: Draw
    whole: bool = False
    default: Any = None

    def __post_init__(self) -> None:
        if self.default is not None and not self.range.contains(self.default):
            allowed = "one of" if self.range.choice is not None else "within"
            raise ConfigError(
                f"default: got {json.dumps(self.default)}, expected {allowed} "
                f"{json.dumps(list(self.range.extremes))}"
            )

    @property
    def key(self) -> str:
        """The path as it is written in a config."""
        return ".".join(map(str, self.path))

    @property
    def size(self) -> float:
        """Number of different values."""
        if self.range.choice is not None:
            return len(self.range.choice)
        low, high = self.range.bounds
        return high - low + 1 if self.whole else float("inf")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the search's hash; the default changes no draw."""
        return {self.range.distribution: list(self.range.extremes), "whole": self.whole}


@dataclass(frozen=True)
class Space:
    """All values that are searched, in the order of the config."""

    dimensions: tuple[Dimension, ...]

    @property
    def default(self) -> Params:
        """The defaults that the config names."""
        return {d.key: d.default for d in self.dimensions if d.default is not None}

    @property
    def size(self) -> float:
        """Number of different points."""
        return prod(d.size for d in self.dimensions)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the search's hash."""
        return {d.key: d.as_dict() for d in self.dimensions}
