"""A zoo as tensors: weights, columns, and which networks belong to which split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dws import WeightSpace
from dws.align import align
from dws.canonical import Canonical, CanonicalKind
from training.augmentation import describe_units
from zoo_gen import ConfigError, ForwardPass, TrainingError, ZooReader
from zoo_gen.recipe.forward_pass import UNKNOWN
from zoo_gen.recipe.recipe import SPLITS
from zoo_gen.zoo.memory import available, bytes_of_batches, bytes_of_theta
from zoo_gen.zoo.shards import Columns

AT_ONCE = 1024  # networks of a zoo that are looked at together while it is read
Preparation = Literal["none", "align", "canonical-sine", "canonical-relu"]


@dataclass(frozen=True, kw_only=True)
class WeightData:
    """The networks of a zoo that training may use.

    Attributes:
        space: their weight space.
        theta: float32 ``[n, size]``.
        member: int64 ``[n]``, index in the zoo.
        rows: split -> int64 indices into the above.
        left_out: networks that diverged while they were fitted.
        forward_pass: what the networks compute, as far as that is known.
        reference: ``[size]``, what the weights are aligned to; None where they are not.
        form: the layer that brought the weights to their canonical form; None where there is none.
    """

    space: WeightSpace
    theta: Tensor
    member: Tensor
    rows: dict[str, Tensor]
    left_out: int = 0
    forward_pass: ForwardPass = UNKNOWN
    reference: Tensor | None = None
    form: Canonical | None = None

    def only(self, networks: int | None) -> Self:
        """The same with the first training networks alone; None for all.

        Raises:
            TrainingError: there are not so many.
        """
        if networks is None:
            return self
        if networks > len(train := self.rows["train"]):
            raise TrainingError(
                f"train_on: got {networks}, but the training split has {len(train)} networks"
            )
        return replace(self, rows={**self.rows, "train": train[:networks]})

    def batches(self, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """The training networks in a fresh order, each once: rows of global batches.

        The order depends on the seed and epoch alone, so that a resumed run and any number of
        workers see the same batches.
        """
        train = self.rows["train"]
        order = torch.randperm(len(train), generator=generator("order", seed, epoch))
        yield from train[order].split(batch_size)


Data = TypeVar("Data", bound=WeightData)


def read_zoo(zoo: ZooReader, needed: tuple[str, ...]) -> tuple[WeightData, Columns]:
    """Read a whole zoo once, checksums verified, into memory: 4 bytes for each weight.

    Args:
        zoo: a complete zoo, fitted here or imported.
        needed: columns to read beside the weights.

    Returns:
        The networks that did not diverge, and those columns, a value per network.

    Raises:
        ZooError: shards are missing or corrupt.
        TrainingError: the zoo does not fit into memory, lacks a column, or a split is empty.
    """
    check_memory(zoo)
    theta, columns, left_out = _read(zoo, needed)
    rows = {name: torch.from_numpy(np.flatnonzero(columns["split"] == name)) for name in SPLITS}
    if empty := [name for name, index in rows.items() if len(index) == 0]:
        raise TrainingError(
            f"{zoo.url}: no network of the {' and '.join(empty)} split is left ({left_out} of "
            f"{len(zoo)} diverged while they were fitted){_advice(zoo)}"
        )
    data = WeightData(
        space=zoo.space,
        theta=theta,
        member=torch.from_numpy(columns["member"]),
        rows=rows,
        left_out=left_out,
        forward_pass=zoo.forward_pass,
    )
    return data, columns


def check_memory(zoo: ZooReader) -> None:
    """Raise `TrainingError` unless this process can read all weights of a zoo and train on them.

    To read takes `bytes_of_batches` beside them; statistics of the training split, which come
    before the first epoch, take a copy of it.
    """
    held = bytes_of_theta(zoo)
    needed, left = held + max(held, bytes_of_batches(zoo, AT_ONCE)), available()
    if left is not None and needed > left:
        raise TrainingError(
            f"{zoo.url}: its {len(zoo):,} networks of {zoo.space.size:,} weights need "
            f"{needed / 1e6:,.0f} MB of memory, {left / 1e6:,.0f} MB are free; training holds all "
            "of them, at its start twice: end other programs, use fewer --workers or fewer "
            "networks, or a larger machine"
        )


def _read(zoo: ZooReader, needed: tuple[str, ...]) -> tuple[Tensor, Columns, int]:
    """Weights and columns of the networks that did not diverge, and how many did."""
    theta, kept = torch.empty(len(zoo), zoo.space.size), 0
    names = {"member", "split", *needed}
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for rows in zoo.batches(AT_ONCE):
        if lacking := [name for name in needed if name not in rows.columns]:
            raise TrainingError(
                f"{zoo.url} has no column {' and no '.join(map(repr, lacking))}; it has "
                f"{', '.join(rows.columns)}"
            )
        good = rows.columns["status"] == "ok"
        stop = kept + int(good.sum())
        theta[kept:stop] = rows.theta if good.all() else rows.theta[torch.from_numpy(good)]
        kept = stop
        for name in names:
            parts[name].append(np.asarray(rows.columns[name])[good])
    columns = {name: np.concatenate(found) for name, found in parts.items()}
    return theta[:kept], columns, len(zoo) - kept


def _advice(zoo: ZooReader) -> str:
    """What to do about an empty split of networks that were imported."""
    if zoo.description["recipe"]["source"].get("kind") != "import":
        return ""
    return (
        "; `dwszoo import` deals signals by --split or --split-at where the source names no "
        "split: leave some of its splits empty, or add --split-at A,B"
    )


def prepare(data: Data, kind: Preparation) -> Data:
    """The same functions with their weights in a form that is easier to learn from.

    Args:
        data: as it was read.
        kind: ``"none"``; ``"align"``, every network's neurons permuted to be close to the mean of
            the aligned *training* networks (`dws.align.align`); ``"canonical-sine"`` or
            ``"canonical-relu"`` (`dws.canonical`).

    Raises:
        ConfigError: weights that have no such form.
        TrainingError: they do not fit into memory.
    """
    if kind == "none":
        return data
    # the new weights; and while networks are aligned, or statistics taken, a copy to train on
    needed, left = 2 * data.theta.nbytes, available()
    if left is not None and needed > left:
        raise TrainingError(
            f"prepare: got {kind!r}, which for {len(data.theta):,} networks of "
            f"{data.space.size:,} weights needs {needed / 1e6:,.0f} MB of memory beside them, "
            f"{left / 1e6:,.0f} MB are free; end other programs, use fewer --workers or fewer "
            "networks, or a larger machine"
        )
    if kind == "align":
        reference = align(data.space, data.theta[data.rows["train"]]).mean(0)
        aligned = align(data.space, data.theta, reference=reference)
        return replace(data, theta=aligned, reference=reference)
    layer = canonical(data.space, data.forward_pass, kind)
    theta = torch.empty_like(data.theta)
    for new, old in zip(theta.split(AT_ONCE), data.theta.split(AT_ONCE), strict=True):
        new.copy_(layer(old))
    return replace(data, theta=theta, form=layer)


def canonical(space: WeightSpace, forward_pass: ForwardPass, kind: Preparation) -> Canonical:
    """What ``"canonical-sine"`` or ``"canonical-relu"`` does to weights, as a layer.

    Args:
        space: of the networks.
        forward_pass: what they compute.
        kind: of the two.

    Raises:
        ConfigError: weights that have no such form.
    """
    unit: CanonicalKind = "sine" if kind == "canonical-sine" else "relu"
    if forward_pass.activation != unit:  # it would change what they compute
        raise ConfigError(f"prepare: got {kind!r}, but {describe_units(forward_pass.activation)}")
    try:
        return Canonical(space, unit, forward_pass.bias_w0 or 1.0)
    except ValueError as error:
        raise ConfigError(f"prepare: got {kind!r}, but {error}") from error


def generator(purpose: str, *numbers: int) -> torch.Generator:
    """Randomness that depends on its purpose and these numbers alone."""
    entropy = [*purpose.encode(), *numbers]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
