"""A zoo read for a task: weights, targets and splits in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data import read_zoo
from training.tasks.base import Task, TaskData
from training.tasks.classify import Classify
from zoo_gen import Source, ZooReader
from zoo_gen.log import log_once


def load(zoo: ZooReader, task: Task | None = None, source: Source | None = None) -> TaskData:
    """Read a whole zoo once, checksums verified, into memory: 4 bytes for each weight.

    Args:
        zoo: a complete zoo, fitted here or imported.
        task: what is to be learned; None for the class in the column ``label``.
        source: of the signals, for a task that takes them.

    Raises:
        ZooError: shards are missing or corrupt.
        TrainingError: the zoo does not fit into memory or lacks a column of the task, a split is
            empty, or the columns cannot be learned.
    """
    task = Classify() if task is None else task
    data, columns = read_zoo(zoo, task.needs)
    targets = task.targets(zoo.url, columns, data.rows)
    if targets.classes:
        _warn_of_single_classes(zoo.url, targets.values, data.rows)
    return TaskData(
        **vars(data),
        task=task,
        target=targets.values,
        classes=targets.classes,
        class_names=targets.names,
        context=task.context(zoo, columns, source),
    )


def _warn_of_single_classes(where: str, target: Tensor, rows: dict[str, Tensor]) -> None:
    """Log each split, of those that scores are computed on, whose networks are all of one class."""
    for split in ("val", "test"):
        if len(found := torch.unique(chosen := target[rows[split]])) == 1:
            log_once(
                f"{where}: all networks of the {split} split, {len(chosen)}, are of class "
                f"{int(found[0])}: what is right there says nothing of others; use more networks"
            )
