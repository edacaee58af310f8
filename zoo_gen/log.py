"""The logger of all packages, and lines that a process logs once."""

from __future__ import annotations

import logging

LOG = logging.getLogger("dwszoo")
"""Warnings for the person who runs a command; workers' lines are forwarded to the driver."""
_logged: set[str] = set()


def log_once(text: str) -> None:
    """Log a warning, unless this process has logged it before."""
    if text not in _logged:
        _logged.add(text)
        LOG.warning(text)


def was_logged(text: str) -> bool:
    """Whether this process has logged it by `log_once`."""
    return text in _logged
