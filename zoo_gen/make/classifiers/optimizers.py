"""Adam, SGD with momentum and RMSprop as rows of one table: one update for a mixed batch.

    g <- g + decay * w                                       (L2, as torch.optim has it)
    v <- keep * v + add * g
    s <- square * s + (1 - square) * g^2
    w <- w - rate * v * a_t / (sqrt(s) * b_t + epsilon)

with a_t = 1 / (1 - keep^t) and b_t = 1 / sqrt(1 - square^t) where the moments are corrected (Adam),
else 1, and b_t = 0 where the gradient's size has no part in the step (SGD).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from zoo_gen.make.classifiers.runs import ClassifierRun


@dataclass(frozen=True)
class Rule:
    """A row of the table; the letters of the formula above."""

    keep: float
    add: float
    square: float
    epsilon: float
    scaled: bool
    corrected: bool

    def factors(self, step: int) -> tuple[float, float]:
        """a_t and b_t of a step, from 1."""
        if not self.corrected:
            return 1.0, float(self.scaled)
        return 1 / (1 - self.keep**step), 1 / sqrt(1 - self.square**step)


RULES = {
    "adam": Rule(0.9, 0.1, 0.999, 1e-8, scaled=True, corrected=True),
    "sgd": Rule(0.9, 1.0, 1.0, 1.0, scaled=False, corrected=False),
    "rmsprop": Rule(0.0, 1.0, 0.99, 1e-8, scaled=True, corrected=False),
}


class Update:
    """The optimisers of m runs, in place.

    Args:
        runs: those of the rows.
        theta: ``[m, size]``, changed by every step.
    """

    def __init__(self, runs: list[ClassifierRun], theta: Tensor) -> None:
        self.rules = [RULES[str(run.settings["optimizer"])] for run in runs]
        self.rates = [run.number("learning_rate") for run in runs]
        self.decay = _column([run.number("weight_decay") for run in runs])
        self.keep = _column([rule.keep for rule in self.rules])
        self.add = _column([rule.add for rule in self.rules])
        self.square = _column([rule.square for rule in self.rules])
        self.rest = _column([1 - rule.square for rule in self.rules])
        self.epsilon = _column([rule.epsilon for rule in self.rules])
        self.theta = theta
        self.mean, self.squares, self.work = (torch.zeros_like(theta) for _ in range(3))

    def step(self, grad: Tensor, step: int) -> None:
        """One update of the first runs.

        Args:
            grad: ``[k, size]`` of the first k rows; overwritten.
            step: number of this step, from 1.
        """
        k = len(grad)
        theta, mean, squares, work = (
            x[:k] for x in (self.theta, self.mean, self.squares, self.work)
        )
        factors = [rule.factors(step) for rule in self.rules[:k]]
        rates = [-rate * a for rate, (a, _) in zip(self.rates, factors, strict=False)]
        grad.addcmul_(theta, self.decay[:k])
        mean.mul_(self.keep[:k]).addcmul_(grad, self.add[:k])
        torch.mul(grad, grad, out=work)
        squares.mul_(self.square[:k]).addcmul_(work, self.rest[:k])
        torch.sqrt(squares, out=work)
        work.mul_(_column([b for _, b in factors])).add_(self.epsilon[:k])
        torch.div(mean, work, out=work)
        theta.addcmul_(work, _column(rates))


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)
