"""Train many classifiers at once: runs of one activation in batches, each with its own settings.

The specification is one ``nn.Sequential`` after another under ``torch.optim``; given the same
draws, this does the same arithmetic for a batch of networks (``benchmarks/classifiers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dws import WeightSpace
from zoo_gen.make.classifiers.gradients import Gradients, floats
from zoo_gen.make.classifiers.optimizers import Update
from zoo_gen.make.classifiers.runs import ClassifierRun, Order
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.sources.labelled import LabelledImages

CACHE_FLOATS = 1 << 22  # of a batch of networks: weights, moments, activations in the cache
MAX_BATCH = 32


def train(
    fit: Classifier,
    runs: list[ClassifierRun],
    images: LabelledImages,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Train these runs.

    Args:
        fit: what they have in common.
        runs: in any order; who shares a batch changes a result by rounding only.
        images: of the source.
        progress: called with the number of runs done since the last call.

    Returns:
        Weights at each snapshot, float32 ``[runs, snapshots, size]``.
    """
    space = fit.space(images.shape, images.classes)
    out = torch.empty(len(runs), len(fit.snapshots), space.size)
    for batch in batches(fit, runs, images):
        out[batch] = _train_batch(fit, space, [runs[i] for i in batch], images)
        progress(len(batch))
    return out


def batches(
    fit: Classifier, runs: list[ClassifierRun], images: LabelledImages
) -> Iterator[list[int]]:
    """Indices of runs that are trained together: one activation, the longest first."""
    space = fit.space(images.shape, images.classes)
    own = floats(fit.network, space, images.shape, fit.batch_size)
    most = max(1, min(MAX_BATCH, CACHE_FLOATS // own))
    for activation in sorted({str(run.settings["activation"]) for run in runs}):
        mine = [i for i, run in enumerate(runs) if run.settings["activation"] == activation]
        mine.sort(key=lambda i: (-runs[i].steps, i))
        yield from (mine[start : start + most] for start in range(0, len(mine), most))


def _train_batch(
    fit: Classifier, space: WeightSpace, runs: list[ClassifierRun], images: LabelledImages
) -> Tensor:
    """Snapshots ``[m, snapshots, size]`` of runs of one activation, sorted by falling steps."""
    theta = torch.from_numpy(np.stack([run.initial(space) for run in runs]))
    activation, size = str(runs[0].settings["activation"]), fit.batch_size
    gradients = Gradients(fit.network, space, theta, images.shape, size, activation)
    update = Update(runs, theta)
    feed, mask = _Feed(fit, runs, images), _Mask(runs, space, size)
    due = [run.snapshot_steps(fit.snapshots) for run in runs]
    out = theta.new_empty(len(runs), len(fit.snapshots), space.size)
    for step in range(runs[0].steps + 1):
        if step:
            active = sum(run.steps >= step for run in runs)
            x, label = feed.next(active)
            update.step(gradients(x, label, mask.next(active)), step)
        for i, steps in enumerate(due):
            for k, at in enumerate(steps):
                if at == step:
                    out[i, k] = theta[i]
    return out


class _Feed:
    """The minibatches of a batch of runs."""

    def __init__(self, fit: Classifier, runs: list[ClassifierRun], images: LabelledImages) -> None:
        self.images, (self.low, high), size = images, fit.network.pixels, fit.batch_size
        self.span = np.float32(high - self.low)
        self.own = [run.training(images) for run in runs]
        self.orders = [Order(run, len(rows)) for run, (rows, _) in zip(runs, self.own, strict=True)]
        self.rows, self.label = np.empty((2, len(runs), size), np.int64)
        self.x = np.empty((len(runs), size, int(np.prod(images.shape))), np.float32)

    def next(self, active: int) -> tuple[Tensor, Tensor]:
        """``[active, size, inputs]`` and ``[active, size]``."""
        for i in range(active):
            positions = self.orders[i].take(self.rows.shape[1])
            rows, label = self.own[i]
            np.take(rows, positions, out=self.rows[i], mode="clip")
            np.take(label, positions, out=self.label[i], mode="clip")
        x = self.images.take(self.rows[:active], out=self.x[:active])
        if self.low != 0 or self.span != 1:
            x *= self.span
            x += np.float32(self.low)
        return torch.from_numpy(x), torch.from_numpy(self.label[:active])


class _Mask:
    """Which hidden neurons are left out for which images of a batch."""

    def __init__(self, runs: list[ClassifierRun], space: WeightSpace, size: int) -> None:
        self.widths = [space.sizes[axis] for axis in space.hidden]
        self.shares = [run.dropout for run in runs]
        self.generators = [run.generator("dropout") for run in runs]
        self.kept = torch.ones(len(runs), sum(self.widths), size)

    def next(self, active: int) -> list[Tensor] | None:
        """``[active, n, size]`` for each hidden layer; None where no run leaves out any."""
        if not any(self.shares[:active]):
            return None
        for i, share in enumerate(self.shares[:active]):
            if share:
                draws = self.generators[i].random(self.kept[i].shape, np.float32)
                self.kept[i] = torch.from_numpy((draws >= share) / np.float32(1 - share))
        return list(self.kept[:active].split(self.widths, 1))
