"""Fit a batch of networks with plain tensor operations: what every execution must equal.

Members that reach the target, diverge or have taken their steps leave the batch, and the next take
their place. A row has its own count of steps, so that who shares a batch changes a result by
rounding only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from zoo_gen.log import log_once
from zoo_gen.make.fit.gradients import Gradients
from zoo_gen.make.fit.problem import Problem, drawn_points

CACHE_POINTS = (
    8192  # points times networks in a batch: activations of width 32 stay in the L2 cache
)
MAX_BATCH = 64
LOOK = 16  # steps between looks for members that have ended


def run(
    problem: Problem, theta: Tensor, progress: Callable[[int], None], batch: int | None = None
) -> Tensor:
    """Fit all members, some at once.

    Args:
        problem: what to fit.
        theta: ``[m, size]`` float32, the initial weights; overwritten by the fitted ones.
        progress: called with the number of members that have ended since the last call.
        batch: how many at once; None for as many as stay in the cache. Halved where memory is out.

    Returns:
        Updates that each member took, int64 ``[m]``; -1 - updates if its loss was not finite then.
    """
    steps = torch.zeros(len(theta), dtype=torch.int64)
    batch = batch or max(4, min(MAX_BATCH, CACHE_POINTS // problem.drawn))
    queue = deque(range(len(theta)))
    while queue:
        members = [queue.popleft() for _ in range(min(batch, len(queue)))]
        try:
            Batch(problem, theta, members, steps).run(queue, progress)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or batch == 1:
                raise
            batch = max(1, min(batch, len(members)) // 2)
            log_once("memory is full: fewer networks are fitted at once from here on")
            queue.extendleft(reversed(members))
    return steps


def out_of_memory(error: Exception) -> bool:
    """Whether it says that memory, of the processor or the device, does not suffice."""
    full = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return full or "allocate memory" in str(error)


class Batch:
    """Members in flight, each with its own signal, moments and count of steps.

    Args:
        problem: what to fit.
        theta: ``[all members, size]``; a row is read when its member starts and written when it
            ends.
        members: those that start, a list that holds those in flight.
        steps: as `run` returns them, written as members end.
    """

    def __init__(self, problem: Problem, theta: Tensor, members: list[int], steps: Tensor) -> None:
        self.problem, self.theta, self.members, self.steps = problem, theta, members, steps
        count = len(members)
        self.x = torch.from_numpy(np.ascontiguousarray(problem.x.T)).to(theta.device)
        self.own = theta[members]
        self.y = theta.new_empty(count, problem.y.shape[2], problem.y.shape[1])
        self.mean, self.square, self.work = (torch.zeros_like(self.own) for _ in range(3))
        self.step = np.zeros(count, np.int64)
        self.taken = torch.zeros(count, dtype=torch.int64, device=theta.device)
        self.fitting = torch.ones(count, dtype=torch.bool, device=theta.device)
        self.finite = torch.ones_like(self.fitting)
        for row in range(count):
            self._start(row)
        self.gradients = Gradients(problem.fit, self.own, problem.drawn)

    def run(self, queue: deque[int], progress: Callable[[int], None]) -> None:
        """Until all of them, and of the queue, have ended."""
        most = self.problem.fit.steps
        while self.members:
            for _ in range(min(LOOK, most - int(self.step.max()))):
                self._step()
            ended = self.step >= most
            ended |= ~self.fitting.cpu().numpy()
            if ended.any():
                self._replace(np.flatnonzero(ended).tolist(), queue)
                progress(int(ended.sum()))

    def _step(self) -> None:
        """One gradient and one update of every network that has not ended."""
        problem, rule = self.problem, self.problem.rule
        loss = self.gradients(*self._points())
        self.finite &= torch.isfinite(loss) | ~self.fitting
        self.fitting &= self.finite & (loss > problem.fit.target_loss)
        factors = torch.from_numpy(problem.factors[self.step]).to(loss.device)
        grad = self.gradients.grad
        if problem.fit.weight_decay:
            grad.add_(self.own, alpha=problem.fit.weight_decay)
        self.mean.mul_(rule.keep).add_(grad, alpha=rule.add)
        if rule.scaled:
            self.square.mul_(rule.square).addcmul_(grad, grad, value=1 - rule.square)
            torch.sqrt(self.square, out=self.work)
            self.work.mul_(factors[:, 1:]).add_(rule.epsilon)
            torch.div(self.mean, self.work, out=self.work)
        else:
            self.work.copy_(self.mean)
        self.work.mul_(factors[:, :1]).masked_fill_(~self.fitting.unsqueeze(1), 0)
        self.own.sub_(self.work)
        self.taken += self.fitting
        self.step += 1

    def _points(self) -> tuple[Tensor, Tensor]:
        """The inputs ``[m, n_0, drawn]`` and targets ``[m, n_M, drawn]`` of this step."""
        problem, count = self.problem, len(self.members)
        if not problem.fit.points_per_step:
            return self.x.expand(count, -1, -1), self.y
        seeds = np.array([problem.seeds[member] for member in self.members], np.uint64)
        drawn = drawn_points(seeds, self.step, problem.drawn, len(problem.x))
        places = torch.from_numpy(drawn).to(self.x.device)
        index = places.unsqueeze(1).expand(-1, self.y.shape[1], -1)
        return self.x[:, places].transpose(0, 1), self.y.gather(2, index)

    def _start(self, row: int) -> None:
        """Give a row to its member."""
        member = self.members[row]
        self.own[row] = self.theta[member]
        self.y[row] = torch.from_numpy(self.problem.y[member].T)
        self.mean[row], self.square[row] = 0, 0
        self.step[row], self.taken[row] = 0, 0
        self.fitting[row], self.finite[row] = True, True

    def _replace(self, ended: list[int], queue: deque[int]) -> None:
        """Write what these rows have learned; the next members take their place, or none."""
        for row in ended:
            member = self.members[row]
            self.theta[member] = self.own[row]
            taken = self.taken[row]
            self.steps[member] = taken if self.finite[row] else -1 - taken
        free: list[int] = []
        for row in ended:
            if queue:
                self.members[row] = queue.popleft()
                self._start(row)
            else:
                free.append(row)
        if not free:
            return
        stay = [row for row in range(len(self.members)) if row not in set(free)]
        self.members[:] = [self.members[row] for row in stay]
        self.step = self.step[stay]
        for name in ("own", "y", "mean", "square", "work", "taken", "fitting", "finite"):
            setattr(self, name, getattr(self, name)[stay])
        self.gradients = Gradients(self.problem.fit, self.own, self.problem.drawn)
