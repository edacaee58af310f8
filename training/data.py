"""A zoo as tensors: weights, targets, and which networks belong to which split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dws import WeightSpace
from dws.align import align
from dws.canonical import Canonical, CanonicalKind
from zoo_gen import ConfigError, TrainingError, ZooReader
from zoo_gen.recipe import SPLITS

Preparation = Literal["none", "align", "canonical-sine", "canonical-relu"]


@dataclass(frozen=True)
class WeightData:
    """The networks of a zoo that training may use.

    Attributes:
        space: their weight space.
        theta: float32 ``[n, size]``.
        target: int64 ``[n]``, the class of each network's signal.
        member: int64 ``[n]``, index in the zoo.
        rows: split -> int64 indices into the above.
        classes: number of classes; every class occurs in training.
        left_out: networks that diverged while they were fitted.
        w0: frequency of the networks' sine units, None if they have none.
    """

    space: WeightSpace
    theta: Tensor
    target: Tensor
    member: Tensor
    rows: dict[str, Tensor]
    classes: int
    left_out: int
    w0: float | None = None

    def batches(self, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """The training networks in a fresh order, each once: rows of global batches.

        The order depends on the seed and epoch alone, so that a resumed run and any number of
        workers see the same batches.
        """
        train = self.rows["train"]
        order = torch.randperm(len(train), generator=generator("order", seed, epoch))
        yield from train[order].split(batch_size)


def load(zoo: ZooReader, column: str = "label") -> WeightData:
    """Read a whole zoo once, checksums verified.

    Args:
        zoo: a complete zoo.
        column: the task column that is to be predicted.

    Raises:
        ZooError: shards are missing or corrupt.
        TrainingError: the zoo lacks the column, or a split or class is empty.
    """
    columns = zoo.columns(theta=True)
    if column not in columns:
        raise TrainingError(f"{zoo.url} has no column {column!r}; it has {', '.join(columns)}")
    good = columns["status"] == "ok"
    rows = {
        name: torch.from_numpy(np.flatnonzero(columns["split"][good] == name)) for name in SPLITS
    }
    if empty := [name for name, index in rows.items() if len(index) == 0]:
        raise TrainingError(
            f"{zoo.url}: no network of the {' and '.join(empty)} split is left "
            f"({int((~good).sum())} of {len(good)} diverged while they were fitted)"
        )
    values = columns[column][good]
    if (
        values.dtype.kind not in "iuf"
        or not (np.isfinite(values) & (values >= 0) & (values == np.floor(values))).all()
    ):
        raise TrainingError(
            f"{zoo.url}: column {column!r} is text, unknown for some networks, or not whole; a "
            "class is a whole number, 0 or more, that every network has"
        )
    target = torch.from_numpy(values.astype(np.int64))
    classes = int(target.max()) + 1
    if len(known := torch.unique(target[rows["train"]])) < 2:
        raise TrainingError(
            f"{zoo.url}: the training split has one class ({int(known[0])}); use more signals"
        )
    if strangers := sorted(set(target.tolist()) - set(known.tolist())):
        raise TrainingError(
            f"{zoo.url}: the training split has no network of class {strangers}; use more signals"
        )
    return WeightData(
        zoo.space,
        torch.from_numpy(columns["theta"][good]),
        target,
        torch.from_numpy(columns["member"][good]),
        rows,
        classes,
        int((~good).sum()),
        zoo.network.w0 if zoo.network and zoo.network.activation == "sine" else None,
    )


def prepare(data: WeightData, kind: Preparation) -> WeightData:
    """The same functions with their weights in a form that is easier to learn from.

    Args:
        data: as it was read.
        kind: ``"none"``; ``"align"``, every network's neurons permuted to be close to the mean of
            the aligned *training* networks (`dws.align.align`); ``"canonical-sine"`` or
            ``"canonical-relu"`` (`dws.canonical`).

    Raises:
        ConfigError: weights that have no such form.
    """
    if kind == "none":
        return data
    if kind == "align":
        reference = align(data.space, data.theta[data.rows["train"]]).mean(0)
        return replace(data, theta=align(data.space, data.theta, reference=reference))
    return replace(data, theta=canonical(data.space, data.w0, kind)(data.theta))


def canonical(space: WeightSpace, w0: float | None, kind: Preparation) -> Canonical:
    """What ``"canonical-sine"`` or ``"canonical-relu"`` does to weights, as a layer.

    Args:
        space: of the networks.
        w0: frequency of their sine units, None if they have none.
        kind: of the two.

    Raises:
        ConfigError: weights that have no such form.
    """
    unit: CanonicalKind = "sine" if kind == "canonical-sine" else "relu"
    if unit == "sine" and w0 is None:
        raise ConfigError(f"prepare: got {kind!r}, but the networks have no sine units")
    if unit == "relu" and w0 is not None:  # scales would change what they compute
        raise ConfigError(f"prepare: got {kind!r}, but the networks have sine units")
    try:
        return Canonical(space, unit, w0 or 1.0)
    except ValueError as error:
        raise ConfigError(f"prepare: got {kind!r}, but {error}") from error


def generator(purpose: str, *numbers: int) -> torch.Generator:
    """Randomness that depends on its purpose and these numbers alone."""
    entropy = [*purpose.encode(), *numbers]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
