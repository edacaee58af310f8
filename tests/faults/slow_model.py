"""A model that takes its time and leaves a trace of each step, and the process that trains it."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dws import Standardize, WeightSpace
from zoo_gen import DwszooError, ForwardPass, Store


@dataclass(frozen=True)
class Slow:
    """A linear layer on the weights.

    Attributes:
        folder: of the traces: the file of a process has a line per training step.
        pace: seconds that each training step sleeps.
        hold: steps after which a process waits until the file ``{folder}.go`` is there, so that it
            cannot end before a test has struck.
    """

    kind: Literal["slow"] = "slow"
    folder: str = ""
    pace: float = 0.01
    hold: int = 160

    def build(self, space: WeightSpace, classes: int, forward_pass: ForwardPass) -> nn.Module:
        return SlowModel(space, classes, self)


class SlowModel(nn.Module):
    def __init__(self, space: WeightSpace, classes: int, slow: Slow) -> None:
        super().__init__()
        self.standardize = Standardize(space)
        self.linear = nn.Linear(space.size, classes)
        self.slow, self.steps = slow, 0

    def forward(self, theta: Tensor) -> Tensor:
        if self.training and not torch.compiler.is_exporting():
            self.steps += 1
            while self.steps > self.slow.hold and not os.path.exists(f"{self.slow.folder}.go"):
                time.sleep(0.02)
            time.sleep(self.slow.pace)
            with open(f"{self.slow.folder}/{os.getpid()}", "a") as file:
                file.write(f"{time.time()}\n")
        return self.linear(theta)


def steps(folder: Path) -> int:
    """Training steps of all processes so far."""
    return sum(len(file.read_text().splitlines()) for file in folder.iterdir())


def next_step(folder: Path, after: float) -> float:
    """When the first training step after some time was."""
    times = (float(t) for file in folder.iterdir() for t in file.read_text().split())
    return min(t for t in times if t > after)


def main(job: str, root: str, where: str, workers: str = "1") -> int:
    """Train: the process that a user's command is."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    jobs, tracking = pickle.loads(Path(job).read_bytes())

    def quiet(*_: object) -> None:
        pass

    try:
        if where == "plain":
            from training.local_engine import train_locally

            train_locally(Store(root), jobs, tracking, quiet)
            return 0
        from training.ray_engine import train_on_ray
        from zoo_gen.make.ray_engine import cluster

        n = int(workers)
        with cluster(None, 2):
            train_on_ray(Store(root), jobs, tracking, quiet, n, n, checkpoint_seconds=0.2)
    except DwszooError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from slow_model import main as run  # so that what is pickled is found by workers too

    sys.exit(run(*sys.argv[1:]))
