"""Try again, with growing pauses, what fails for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_exponential_jitter,
)

from zoo_gen.errors import DwszooError
from zoo_gen.log import LOG

RETRY_SECONDS = 180.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0  # seconds between tries, doubled each time
Result = TypeVar("Result")


def retry(
    action: Callable[[], Result], is_transient: Callable[[DwszooError], bool], seconds: float
) -> Result:
    """The result of an action, which is tried again while it fails with a transient error.

    Each retry is logged. Pauses are jittered, so that many workers do not all come back at once.

    Args:
        action: harmless to do twice.
        is_transient: whether an error may go away by itself.
        seconds: after which the error is raised all the same.
    """

    def transient(error: BaseException) -> bool:
        return isinstance(error, DwszooError) and is_transient(error)

    def log(state: RetryCallState) -> None:
        LOG.warning("%s; trying again in %.1f s", _error(state), state.upcoming_sleep)

    def give_up(state: RetryCallState) -> Result:
        error = _error(state)
        raise type(error)(
            f"{error} (tried for {seconds:.0f} s); when it is back, the same command continues"
        ) from error.__cause__

    retrying = Retrying(
        retry=retry_if_exception(transient),
        wait=wait_exponential_jitter(FIRST_PAUSE, LONGEST_PAUSE, jitter=FIRST_PAUSE),
        stop=stop_before_delay(seconds),
        sleep=time.sleep,
        before_sleep=log,
        retry_error_callback=give_up,
    )
    return retrying(action)


def _error(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error
