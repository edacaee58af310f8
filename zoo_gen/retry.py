"""To try again, with growing pauses, what fails for a while."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from zoo_gen.errors import DwszooError

PATIENCE_SECONDS = 180.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0  # seconds between tries, doubled each time
LOG = logging.getLogger("dwszoo")  # what a person should know while a command runs
Result = TypeVar("Result")


def patiently(
    action: Callable[[], Result], passes: Callable[[DwszooError], bool], patience: float
) -> Result:
    """Do it; again while it fails with an error that may pass. Each try is told in `LOG`.

    Args:
        action: what is done; harmless to do twice.
        passes: whether an error may go away by itself.
        patience: seconds after which the error is raised all the same.
    """
    until, pause = time.monotonic() + patience, FIRST_PAUSE
    while True:
        try:
            return action()
        except DwszooError as error:
            if not passes(error):
                raise
            # drawn, so that many workers do not all come back at once
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > until:
                raise type(error)(
                    f"{error} (tried for {patience:.0f} s); when it is back, the same command "
                    "continues"
                ) from error.__cause__
            LOG.warning("%s; trying again in %.1f s", error, wait)
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)
