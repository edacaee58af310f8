"""What a person should know of a fit or a training, told once by a process."""

from __future__ import annotations

import logging

LOG = logging.getLogger("dwszoo")
_told: set[str] = set()


def was_told(text: str) -> bool:
    """Whether this process has logged it by `tell_once`."""
    return text in _told


def tell_once(text: str) -> None:
    """Log a line, unless this process has done so before."""
    if text not in _told:
        _told.add(text)
        LOG.warning(text)
