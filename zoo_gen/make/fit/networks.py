"""Fit one network to each signal: checks, the execution, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo_gen.errors import SourceError
from zoo_gen.make.fit.choice import RUNS, choose
from zoo_gen.make.fit.problem import Array, Problem, losses, outputs
from zoo_gen.make.fit.start import init
from zoo_gen.recipe.fit import Fit, Fitting

REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Fitted:
    """Networks after fitting.

    Attributes:
        theta: ``[m, size]`` float32.
        loss: ``[m]``, the recipe's loss over all points, of the networks as they are.
        psnr: ``[m]`` in dB, for signals in [0, 1]: -10 log10(mean squared error).
        steps: ``[m]`` int32, updates that were taken.
        diverged: ``[m]``, where weights or loss are not finite.
        execution: what fitted them.
    """

    theta: Tensor
    loss: Tensor
    psnr: Tensor
    steps: Tensor
    diverged: Tensor
    execution: str


def fit_networks(
    fit: Fit,
    seeds: list[int],
    coordinates: Array,
    targets: Array,
    progress: Callable[[int], None] = lambda done: None,
    fitting: Fitting = "auto",
    members: int | None = None,
) -> Fitted:
    """Fit one network to each signal.

    Args:
        fit: the recipe.
        seeds: of the initialisations, one per network.
        coordinates: ``[points, d_in]``.
        targets: ``[m, points, d_out]``.
        progress: called with the number of networks done since the last call.
        fitting: which execution; they give the same weights to rounding.
        members: of the zoo that these are a part of, for the choice that ``"auto"`` makes.

    Returns:
        Weights and errors, in the order of the seeds. Networks that diverge are marked, not lost.

    Raises:
        SourceError: targets or coordinates with NaN or infinity, of another size, or empty.
    """
    _check(fit, seeds, coordinates, targets)
    inputs = fit.forward_pass.inputs(coordinates)
    problem = Problem(fit, seeds, inputs, np.ascontiguousarray(targets))
    theta, counter = init(fit, seeds), _Throttled(progress)
    execution = choose(fitting, fit, members or len(seeds), len(coordinates))
    steps = RUNS[execution](problem, theta, counter.add)
    counter.flush()
    loss, square = _errors(problem, theta)
    diverged = ~(torch.isfinite(loss) & torch.isfinite(theta).all(1)) | (steps < 0)
    steps = torch.where(steps < 0, -1 - steps, steps).int()
    return Fitted(theta, loss, -10 * torch.log10(square), steps, diverged, execution)


def _check(fit: Fit, seeds: list[int], coordinates: Array, targets: Array) -> None:
    if not len(coordinates) or not len(seeds):
        raise SourceError("a signal without points, or no signals at all; check the source")
    expected = (len(seeds), len(coordinates), fit.widths[-1])
    if targets.shape != expected or coordinates.shape[1:] != fit.widths[:1]:
        raise SourceError(
            f"signals [signals, points, outputs] of shape {list(targets.shape)} at coordinates of "
            f"shape {list(coordinates.shape)}; expected {list(expected)} and "
            f"{[len(coordinates), fit.widths[0]]} for networks of widths {list(fit.widths)}"
        )
    if not (np.isfinite(targets).all() and np.isfinite(coordinates).all()):
        raise SourceError("a signal holds NaN or infinity; clean the source")
    if fit.loss == "cross_entropy" and not (targets.min() >= 0 and targets.max() <= 1):
        raise SourceError(
            f"zoo.fit.loss: cross_entropy needs targets in [0, 1], these are in "
            f"[{targets.min():.3g}, {targets.max():.3g}]; take mse"
        )


def _errors(problem: Problem, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the mean squared error ``[m]`` of networks as they are, over all points."""
    loss, square = torch.empty(len(theta)), torch.empty(len(theta))
    batch = max(1, (1 << 20) // problem.y[0].size)
    for start in range(0, len(theta), batch):
        rows = slice(start, start + batch)
        out, y = outputs(problem.fit, theta[rows], problem.x), torch.from_numpy(problem.y[rows])
        loss[rows] = losses(problem.fit, out, y)
        drawn = torch.sigmoid(out) if problem.fit.loss == "cross_entropy" else out
        square[rows] = (drawn - y).square().flatten(1).mean(1)
    return loss, square


class _Throttled:
    """Adds up progress and reports it a few times a second: a network may take a millisecond."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self.report, self.count, self.reported = report, 0, time.monotonic()

    def add(self, more: int) -> None:
        self.count += more
        if time.monotonic() - self.reported > REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.count:
            self.report(self.count)
        self.count, self.reported = 0, time.monotonic()
