"""Checks of options, raised as `ConfigError` with the key, what came and what was expected."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_gen import ConfigError


def check_positive(key: str, value: float) -> None:
    """Raise `ConfigError` unless the value is above zero."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}: got {value}, expected more than 0")


def check_widths(key: str, widths: Iterable[int]) -> None:
    """Raise `ConfigError` unless all are above zero."""
    for width in widths:
        check_positive(key, width)


def check_share(key: str, value: float) -> None:
    """Raise `ConfigError` unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{key}: got {value}, expected at least 0 and less than 1")
