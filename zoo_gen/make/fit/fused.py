"""Fit on a GPU: all members of a shard at once, a Triton program each, many steps in a launch.

No GPU has run this yet. Triton's interpreter has, against the plain loop; and its compiler makes
code for an H100 of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zoo_gen.log import log_once
from zoo_gen.make.fit import eager
from zoo_gen.make.fit.compiled import ACTIVATIONS
from zoo_gen.make.fit.problem import Problem
from zoo_gen.recipe.fit import Fit

LAUNCH = 128  # steps of a launch: between two, members that have ended are counted and left out
ROWS = 4  # as in the kernel
MOST_WIDTH, MOST_HIDDEN, MOST_IN, MOST_OUT = 64, 4, 3, 4
TILE_FLOATS = 1024  # of one layer's activations; with twice as many, registers spill on sm_90
MOST_BATCH, BATCH_FLOATS = 4096, 1 << 29  # of networks too large for the kernel
PRECISIONS = ("ieee", "tf32x3", "tf32")


def beyond(fit: Fit) -> str | None:
    """Why the kernel does not take such networks, or None."""
    widths = fit.space.widths
    most = [MOST_IN, *[MOST_WIDTH] * (len(widths) - 2), MOST_OUT]
    if len(widths) - 2 > MOST_HIDDEN or any(n > m for n, m in zip(widths, most, strict=True)):
        return (
            f"the fused fit takes 1 to {MOST_HIDDEN} hidden layers of up to {MOST_WIDTH}, up to "
            f"{MOST_IN} inputs and {MOST_OUT} outputs, these are {'-'.join(map(str, widths))}"
        )
    return None


def batched(problem: Problem, theta: Tensor, progress: Callable[[int], None]) -> Tensor:
    """Fit all members on the GPU with plain tensor operations, as many at once as suit it."""
    own = 2 * problem.drawn * sum(problem.fit.space.widths)
    batch = max(1, min(MOST_BATCH, BATCH_FLOATS // own))
    there = theta.cuda()
    steps = eager.run(problem, there, progress, batch)
    theta.copy_(there)
    return steps


@dataclass(frozen=True)
class Layout:
    """Positions of the numbers of theta among the padded ones of a member, as the kernel has them.

    Attributes:
        width: N, of all hidden layers.
        size: numbers of a member.
        place: int64 ``[size of theta]``, of each of theta's.
    """

    width: int
    size: int
    place: Tensor

    @classmethod
    def of(cls, fit: Fit) -> Layout:
        """For networks of a recipe."""
        widths = fit.space.widths
        n = max(16, 1 << (max(widths[1:-1]) - 1).bit_length())
        block, hidden = n * n + n, len(widths) - 2
        top = ROWS * n + (hidden - 1) * block
        places = []
        for k in range(1, hidden + 2):
            out, inner = np.mgrid[: widths[k], : widths[k - 1]]
            neuron = np.arange(widths[k])
            if k == 1:
                places += [inner * n + out, 3 * n + neuron]
            elif k <= hidden:
                start = ROWS * n + (k - 2) * block
                places += [start + inner * n + out, start + n * n + neuron]
            else:
                places += [top + out * n + inner, top + ROWS * n + neuron]
        place = torch.from_numpy(np.concatenate([p.ravel() for p in places]))
        return cls(n, top + ROWS * n + ROWS, place)


def run(
    problem: Problem,
    theta: Tensor,
    progress: Callable[[int], None],
    device: str = "cuda",
    precision: str = "ieee",
) -> Tensor:
    """Fit all members, as `make.fit.eager.run`. Where the GPU's memory is full, half at once.

    Args:
        problem, theta, progress: as there; theta may be on any device.
        device: ``"cpu"`` under Triton's interpreter.
        precision: of the matrix products, one of `PRECISIONS`: plain float32, or on tensor cores
            as three products of 19 bits (nearly float32) or one.
    """
    try:
        return _run(problem, theta, progress, device, precision)
    except RuntimeError as error:  # torch's; those of Triton have no such base
        if len(theta) == 1 or not eager.out_of_memory(error):
            raise
    log_once("the GPU's memory is full: fewer networks are fitted at once from here on")
    half = len(theta) // 2
    parts = []
    for rows in (slice(0, half), slice(half, None)):
        part = replace(problem, seeds=problem.seeds[rows], y=problem.y[rows])
        parts.append(run(part, theta[rows], progress, device, precision))
    return torch.cat(parts)


def _run(
    problem: Problem,
    theta: Tensor,
    progress: Callable[[int], None],
    device: str,
    precision: str,
) -> Tensor:
    layout, count = Layout.of(problem.fit), len(theta)
    members = torch.arange(count, dtype=torch.int32, device=device)
    padded = torch.zeros(count, layout.size, device=device)
    padded[:, layout.place.to(device)] = theta.to(device)
    call = _Call(problem, layout, padded, precision)
    most = problem.fit.steps
    for first in range(0, most, LAUNCH):
        last = min(first + LAUNCH, most)
        call(members, first, last)
        fitting = call.state[members.long()] == 0
        if last < most:
            progress(len(members) - int(fitting.sum()))
            members = members[fitting]
        if not len(members):
            break
    progress(len(members))
    theta.copy_(padded[:, layout.place.to(device)])
    steps = call.steps.long()
    return torch.where(call.state == 2, -1 - steps, steps).cpu()


class _Call:
    """The kernel with all that stays the same between its launches."""

    def __init__(self, problem: Problem, layout: Layout, theta: Tensor, precision: str) -> None:
        fit, rule, device = problem.fit, problem.rule, theta.device
        widths = fit.space.widths
        seeds = np.array(problem.seeds, np.uint64).view(np.int32).reshape(-1, 2)
        numbers = [fit.weight_decay, rule.keep, rule.add, rule.square, 1 - rule.square]
        self.steps = torch.zeros(len(theta), dtype=torch.int32, device=device)
        self.state = torch.zeros_like(self.steps)
        self.before = (
            torch.from_numpy(problem.x).to(device),
            torch.from_numpy(problem.y).to(device),
            theta,
            torch.zeros_like(theta),
            torch.zeros_like(theta),
            torch.from_numpy(seeds).to(device),
            self.steps,
            self.state,
            torch.from_numpy(problem.factors).to(device),
            torch.tensor([*numbers, rule.epsilon], device=device),
            len(problem.x),
            problem.drawn,
        )
        self.after = (fit.w0, fit.offset, fit.target_loss)
        self.warps = 4 if layout.width <= 32 else 8
        self.shapes = {
            "SIZE": layout.size,
            "N": layout.width,
            "T": max(16, TILE_FLOATS // layout.width),
            "IN": widths[0],
            "OUT": widths[-1],
            "HIDDEN": len(widths) - 2,
            "ACTIVATION": ACTIVATIONS.index(fit.activation),
            "CROSS": fit.loss == "cross_entropy",
            "SCALED": rule.scaled,
            "RANDOM": bool(fit.points_per_step),
            "PRECISION": precision,
        }

    def __call__(self, members: Tensor, first: int, last: int) -> None:
        """Some steps of these members."""
        from zoo_gen.make.fit.triton_kernel import fit_steps

        grid = (len(members),)
        fit_steps[grid](
            members, *self.before, first, last, *self.after, **self.shapes, num_warps=self.warps
        )
