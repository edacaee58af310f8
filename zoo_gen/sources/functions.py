"""Functions of one variable: sines and sums of sines."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, pi
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError
from zoo_gen.sources.base import Column, Signals, Source, at_least, function_signals

Range = tuple[float, float] | float
"""A number, or [low, high] to draw it from, uniformly."""


@dataclass(frozen=True)
class Sine(Source):
    """Sines a sin(b x), the columns ``amplitude`` a and ``frequency`` b.

    Networks take x as it is, not scaled to [-1, 1], as in Navon et al. 2023. The first signals are
    the same whatever the count, and a's draws do not depend on whether b is drawn.

    Attributes:
        amplitude, frequency: a number, or [low, high] to draw from, uniformly.
        domain: [low, high] of x.
        points: evenly spaced over the domain, both ends included.
        count: signals.
        seed: of the draws.
    """

    kind: Literal["sine"] = "sine"
    amplitude: Range = 1.0
    frequency: Range = (0.5, 10.0)
    domain: tuple[float, float] = (-pi, pi)
    points: int = 2000
    count: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self)

    def load(self) -> Signals:
        """The signals."""
        x, values, amplitude, frequency = _sums(self, terms=1)
        return function_signals(
            x, values, {"amplitude": amplitude[:, 0], "frequency": frequency[:, 0]}
        )


@dataclass(frozen=True)
class Sines(Source):
    """Sums of sines a_1 sin(b_1 x) + ... + a_k sin(b_k x), the columns ``amplitude_1`` to ``_k``.

    Terms are in the order of their frequencies (the sum knows no other); else as `Sine`.

    Attributes:
        terms: k.
        amplitude, frequency: of each term, a number or [low, high] to draw from, uniformly.
        domain, points, count, seed: see `Sine`.
    """

    kind: Literal["sines"] = "sines"
    terms: int = 3
    amplitude: Range = (0.0, 1.0)
    frequency: Range = (0.5, 10.0)
    domain: tuple[float, float] = (-pi, pi)
    points: int = 2000
    count: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("terms", self.terms, 1)
        _check(self)

    def load(self) -> Signals:
        """The signals."""
        x, values, amplitude, frequency = _sums(self, self.terms)
        columns: dict[str, Column] = {}
        for name, drawn in (("amplitude", amplitude), ("frequency", frequency)):
            columns |= {f"{name}_{k + 1}": drawn[:, k] for k in range(self.terms)}
        return function_signals(x, values, columns)


def _check(source: Sine | Sines) -> None:
    for key in ("amplitude", "frequency", "domain"):
        low, high = _ends(getattr(source, key))
        if not (isfinite(low) and isfinite(high) and low <= high) or (
            key == "domain" and low == high
        ):
            raise ConfigError(
                f"{key}: got {[low, high]}, expected [low, high] of finite numbers, low first"
            )
    at_least("points", source.points, 2)
    at_least("count", source.count, 1)
    at_least("seed", source.seed, 0)


def _ends(values: Range) -> tuple[float, float]:
    return values if isinstance(values, tuple) else (values, values)


def _sums(
    source: Sine | Sines, terms: int
) -> tuple[
    npt.NDArray[np.float64],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
]:
    """x ``[points, 1]``, values ``[count, points, 1]``, amplitudes, frequencies ``[count, k]``."""
    unit = np.random.default_rng(source.seed).random((source.count, 2, terms))
    unit[:, 1].sort(-1)
    (a_low, a_high), (b_low, b_high) = _ends(source.amplitude), _ends(source.frequency)
    # rounded first: the columns are the coefficients of what is fitted
    amplitude = (a_low + (a_high - a_low) * unit[:, 0]).astype(np.float32)
    frequency = (b_low + (b_high - b_low) * unit[:, 1]).astype(np.float32)
    x = np.linspace(*source.domain, source.points)
    values = np.zeros((source.count, source.points), np.float32)
    for i in range(source.count):
        values[i] = amplitude[i].astype(float) @ np.sin(np.outer(frequency[i].astype(float), x))
    return x[:, None], values[..., None], amplitude, frequency
