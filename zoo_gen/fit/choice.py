"""Which execution fits: told by the person, or a function of the recipe and the machine.

Never of how much of a zoo is left, so that a zoo that was interrupted goes on as it began.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from zoo_gen.fit import compiled, eager
from zoo_gen.fit.compiler import NoCompilerError, kernel
from zoo_gen.fit.problem import Problem
from zoo_gen.fit.told_once import tell_once
from zoo_gen.fit_settings import Fit, Fitting

Run = Callable[[Problem, Tensor, Callable[[int], None]], Tensor]
RUNS: dict[str, Run] = {"eager": eager.run, "compiled": compiled.run}
SMALL = 2e10  # floating-point operations of a zoo that the eager execution does in a second


def choose(fitting: Fitting, fit: Fit, members: int, points: int) -> str:
    """The execution that fits a zoo on this machine.

    Args:
        fitting: what was asked for; ``"auto"`` takes the fastest, and the eager one where a zoo is
            too small to pay for building a kernel.
        fit: the recipe.
        members: of the whole zoo.
        points: of a signal.

    Returns:
        A key of `RUNS`. Where what was asked for cannot be, the eager execution; a line in the log
        of ``dwszoo`` tells why, once.
    """
    if fitting == "eager":
        return "eager"
    work = 6.0 * members * fit.steps * (fit.points_per_step or points) * fit.space.size
    if fitting == "auto" and work < SMALL:
        return "eager"
    layers = len(fit.widths) - 1
    if layers > compiled.LAYERS:
        reason = f"the compiled fit takes up to {compiled.LAYERS} layers, these have {layers}"
        return _eager(reason)
    try:
        kernel()
    except NoCompilerError as error:
        return _eager(str(error))
    return "compiled"


def _eager(reason: str) -> str:
    tell_once(f"{reason}: fitting without, about four times slower")
    return "eager"
