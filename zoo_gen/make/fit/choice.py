"""Which execution fits: the one asked for, or a function of the recipe and the machine.

Never of how much of a zoo is left, so that a zoo that was interrupted goes on as it began.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from zoo_gen.log import log_once
from zoo_gen.make.fit import compiled, eager, fused
from zoo_gen.make.fit.compiler import NoCompilerError, kernel
from zoo_gen.make.fit.problem import Problem
from zoo_gen.recipe.fit import Fit, Fitting

Run = Callable[[Problem, Tensor, Callable[[int], None]], Tensor]
RUNS: dict[str, Run] = {
    "eager": eager.run,
    "compiled": compiled.run,
    "fused": fused.run,
    "batched": fused.batched,
}
SMALL = 2e10  # floating-point operations of a zoo that the eager execution does in a second
LARGE = 1e12  # that the compiled one does in ten: as long as a kernel for a GPU takes to build


def choose(fitting: Fitting, fit: Fit, members: int, points: int) -> str:
    """The execution that fits a zoo on this machine.

    Args:
        fitting: what was asked for; ``"auto"`` takes the fastest, and not one whose kernel takes
            longer to build than the zoo to fit.
        fit: the recipe.
        members: of the whole zoo.
        points: of a signal.

    Returns:
        A key of `RUNS`; the next best, with a warning, where the one asked for is not possible.
    """
    if fitting == "eager":
        return "eager"
    operations = fit.gpu_operations(members, points)
    if fitting == "fused" or (fitting == "auto" and operations >= LARGE):
        if torch.cuda.is_available():
            return _on_gpu(fit)
        if fitting == "fused":
            log_once("the fused fit needs a GPU that torch can use, there is none: without it")
    if fitting == "auto" and operations < SMALL:
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


def wants_gpu(fitting: Fitting, operations: float) -> bool:
    """Whether a GPU would be used if there were one (`Maker.gpu_operations`)."""
    if not operations:
        return False
    return fitting == "fused" or (fitting == "auto" and operations >= LARGE)


def _on_gpu(fit: Fit) -> str:
    reason = fused.beyond(fit)
    if reason is None and find_spec("triton") is None:
        reason = "the fused fit needs the package triton"
    if reason is None:
        return "fused"
    log_once(f"{reason}: fitting on the GPU without it, slower")
    return "batched"


def _eager(reason: str) -> str:
    log_once(f"{reason}: fitting without, about four times slower")
    return "eager"
