"""From a recipe and its signals to a zoo on disk.

The shard contract: a shard is a pure function of (recipe, shard index), fitted by one task and
published whole. That it exists means that it is done. So after any crash the same call fits what is
missing and nothing else. The plain loop here specifies what every engine does; Ray's is in
:mod:`zoo_gen.make.ray_engine`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dws import WeightSpace
from zoo_gen.errors import ZooError
from zoo_gen.make.classifiers.rows import classifier_columns
from zoo_gen.make.fit import fit_networks
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.recipe.fit import Fitting
from zoo_gen.recipe.recipe import Fit, Recipe
from zoo_gen.sources import Signals
from zoo_gen.zoo import shards
from zoo_gen.zoo.description import told_space
from zoo_gen.zoo.store import Store

Progress = Callable[[int], None]
"""Called with the number of networks fitted so far."""


@dataclass(frozen=True)
class Job:
    """What a task needs to fit any shard of one zoo; ``fitting`` changes rows by rounding."""

    store: Store
    recipe: Recipe
    signals: Signals
    description: dict[str, Any]
    fitting: Fitting = "auto"

    @cached_property
    def assigned(self) -> npt.NDArray[np.str_]:
        """The split of each signal, of classifiers of each run; travels with the job once known."""
        return self.recipe.assigned(self.signals)


@dataclass(frozen=True)
class ShardDone:
    """What a task tells of a shard it published."""

    shard: int
    rows: int
    diverged: int


class Engine(Protocol):
    """Runs `fit_shard` for the given shards, in any order, and yields as they are published."""

    def fit(self, job: Job, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        """Fit and publish these shards."""
        ...


@dataclass
class Generated:
    """What one call of `generate` did.

    Attributes:
        folder: of the zoo, below the root.
        members: networks in the zoo.
        fitted: networks that were fitted now; the others were there.
        diverged: of those fitted now.
    """

    folder: str
    members: int
    fitted: int = 0
    diverged: int = 0


def generate(
    store: Store,
    recipe: Recipe,
    signals: Signals,
    engine: Engine,
    progress: Progress = lambda done: None,
    fitting: Fitting = "auto",
) -> Generated:
    """Fit whatever is missing of a zoo.

    Args:
        store: the root.
        recipe: of the zoo.
        signals: those of the recipe, limited as it says (for classifiers all of the source).
        engine: who fits.
        progress: called with the number of networks that are there, from 0 to ``recipe.members``.
        fitting: which execution fits (`zoo_gen.make.fit.choose`); no part of the recipe, since rows
            differ by rounding only. A shard's description tells which it was.

    Raises:
        ZooError: the folder holds a zoo of another recipe, or more networks diverge than
            ``zoo.most_diverged`` allows.
        StorageError: the root cannot be written.
    """
    space = recipe.space(signals)
    description = describe(store, recipe, space)
    store.sweep(f"{recipe.folder}/shards")
    missing = missing_shards(store, recipe)
    done = Generated(recipe.folder, recipe.members)
    present = recipe.members - sum(len(recipe.rows(i)) for i in missing)
    progress(present)
    if not missing:
        return done
    lacking = recipe.members - present
    store.check_writable(lacking * 4 * space.size)
    job = Job(store, recipe, signals, description, fitting)
    _ = job.assigned  # here once, not in each shard: it takes all signals
    for result in engine.fit(job, missing, lambda n: progress(present + n)):
        done.fitted += result.rows
        done.diverged += result.diverged
        _check_diverged(recipe, done, lacking)
    progress(recipe.members)
    return done


def _check_diverged(recipe: Recipe, done: Generated, lacking: int) -> None:
    """Raise `ZooError` if too many of the networks that are fitted now diverge."""
    zoo = recipe.zoo
    if isinstance(zoo.fit, Fit) and done.diverged > zoo.most_diverged * lacking:
        raise ZooError(
            f"{done.diverged:,} of {done.fitted:,} networks diverged, more than zoo.most_diverged "
            f"({zoo.most_diverged:g}) of the {lacking:,} to fit allows; lower "
            f"zoo.fit.learning_rate ({zoo.fit.learning_rate:g}), or set zoo.most_diverged=1"
        )


def describe(store: Store, recipe: Recipe, space: WeightSpace) -> dict[str, Any]:
    """The content of ``zoo.json``: as it stands, or written now.

    Raises:
        ZooError: it is there and tells of another recipe.
    """
    path = f"{recipe.folder}/zoo.json"
    if store.exists(path):
        description = read_description(store, recipe.folder)
        if (
            description.get("hash8") != recipe.hash8
            or description.get("recipe") != recipe.as_dict()
        ):
            raise ZooError(
                f"{store.url(path)} was made by another recipe (hash {description.get('hash8')}, "
                f"this one is {recipe.hash8}); move that folder away or choose another name"
            )
        return description
    description = {
        "format": recipe.format,
        "checksum": shards.SEALED,
        "hash8": recipe.hash8,
        "recipe": recipe.as_dict(),
        "space": told_space(recipe, space),
        "members": recipe.members,
        "shards": recipe.shards,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "numpy": np.__version__,
        },
    }
    store.publish(path, json.dumps(description, indent=2).encode())
    return description


def read_description(store: Store, folder: str) -> dict[str, Any]:
    """``zoo.json`` of a folder.

    Raises:
        ZooError: it is missing or not JSON.
    """
    path = f"{folder}/zoo.json" if folder else "zoo.json"
    if not store.exists(path):
        raise ZooError(
            f"{store.url(folder)} is not a zoo: it has no zoo.json; `dwszoo generate` makes one"
        )
    try:
        description = json.loads(store.read(path))
    except ValueError as error:
        raise ZooError(
            f"{store.url(path)} is not readable JSON ({error}); delete it and "
            "`dwszoo generate` writes it again"
        ) from error
    if not isinstance(description, dict):
        raise ZooError(f"{store.url(path)} does not describe a zoo")
    return description


def fit_shard(job: Job, shard: int, progress: Progress = lambda done: None) -> ShardDone:
    """Fit one shard and publish it: the unit of work of every engine.

    Args:
        job: the zoo.
        shard: which one.
        progress: called with the number of its networks fitted so far.
    """
    torch.set_num_threads(1)  # several fitting processes with several threads each collapse
    recipe, members, counted = job.recipe, job.recipe.rows(shard), _Count(progress)
    fit, description = recipe.zoo.fit, job.description
    if isinstance(fit, Classifier):
        columns = classifier_columns(recipe, fit, job.signals, members, counted.add)
    else:
        columns, execution = _fitted_columns(job, fit, members, counted.add)
        description = {**description, "fitting": execution}
    data = shards.encode(columns, description)
    job.store.publish(f"{recipe.folder}/shards/{shard_name(shard)}", data)
    return ShardDone(shard, len(members), int((columns["status"] != "ok").sum()))


def _fitted_columns(
    job: Job, fit: Fit, members: npt.NDArray[np.int64], done: Progress
) -> tuple[shards.Columns, str]:
    """The rows of a shard of networks that were fitted to signals, and the execution."""
    recipe, signals = job.recipe, job.signals
    row, view = np.divmod(members, recipe.zoo.views)
    seeds = [recipe.member_seed(int(m)) for m in members]
    fitted = fit_networks(
        fit,
        seeds,
        signals.coordinates,
        signals.targets(row),
        done,
        job.fitting,
        recipe.members,
    )
    columns = {
        "member": members,
        "signal": signals.index[row],
        "view": view.astype(np.int32),
        "split": job.assigned[row],
        "seed": np.array(seeds, np.int64),
        "theta": fitted.theta.numpy(),
        "loss": fitted.loss.numpy(),
        "psnr": np.where(signals.unit_range, fitted.psnr.numpy(), np.float32(np.nan)),
        "steps": fitted.steps.numpy(),
        "status": np.where(fitted.diverged.numpy(), "diverged", "ok"),
        **{name: column[row] for name, column in signals.columns.items()},
    }
    return columns, fitted.execution


def missing_shards(store: Store, recipe: Recipe) -> list[int]:
    """The shards of a zoo that are not published yet; none of one that is whole."""
    there = set(store.names(f"{recipe.folder}/shards"))
    return [i for i in range(recipe.shards) if shard_name(i) not in there]


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"part-{shard:05d}.parquet"


class LocalEngine:
    """One shard after another in this process, on one thread; needs no Ray."""

    def fit(self, job: Job, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        """Fit and publish these shards in order."""
        before, threads = 0, torch.get_num_threads()
        try:
            for shard in missing:
                done = fit_shard(job, shard, lambda n, b=before: progress(b + n))  # type: ignore[misc]
                before += done.rows
                yield done
        finally:
            torch.set_num_threads(threads)


@dataclass
class _Count:
    """Turns increments into a running total."""

    tell: Progress
    total: int = field(default=0)

    def add(self, more: int) -> None:
        self.total += more
        self.tell(self.total)
