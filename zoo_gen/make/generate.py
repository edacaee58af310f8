"""From a recipe and its signals to a zoo on disk.

The shard contract: a shard is a pure function of (recipe, shard index), fitted by one task and
published whole. If it exists, it is done. So after any crash the same call makes what is missing
and nothing else. The plain loop here specifies what every engine does; Ray's is in
:mod:`zoo_gen.make.ray_engine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

from zoo_gen.errors import ZooError
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.make.members import MAKE
from zoo_gen.recipe.fit import Fitting
from zoo_gen.recipe.recipe import Recipe
from zoo_gen.sources import Signals
from zoo_gen.zoo import shards
from zoo_gen.zoo.layout import describe, missing_shards, shard_name
from zoo_gen.zoo.store import Store


@dataclass(frozen=True)
class ShardDone:
    """A shard that a task has published."""

    shard: int
    rows: int
    diverged: int


class Engine(Protocol):
    """Runs `fit_shard` for the given shards, in any order, and yields as they are published."""

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
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
        signals: those that its members are made from (`Maker.visible`).
        engine: runs the work.
        progress: called with the number of networks that are there, from 0 to ``recipe.members``.
        fitting: which execution fits (`zoo_gen.make.fit.choose`); no part of the recipe, since rows
            differ by rounding only. A shard's description names it.

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
    job = ShardJob(store, recipe, signals, description, fitting)
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
    remedy = zoo.fit.divergence_remedy
    if remedy is not None and done.diverged > zoo.most_diverged * lacking:
        raise ZooError(
            f"{done.diverged:,} of {done.fitted:,} networks diverged, more than zoo.most_diverged "
            f"({zoo.most_diverged:g}) of the {lacking:,} to fit allows; {remedy}, or set "
            "zoo.most_diverged=1"
        )


def fit_shard(job: ShardJob, shard: int, progress: Progress = lambda done: None) -> ShardDone:
    """Make one shard and publish it: the unit of work of every engine.

    Args:
        job: the zoo.
        shard: which one.
        progress: called with the number of its networks made so far.
    """
    torch.set_num_threads(1)  # several fitting processes with several threads each collapse
    recipe, members, count = job.recipe, job.recipe.rows(shard), 0

    def add(more: int) -> None:
        nonlocal count
        count += more
        progress(count)

    columns, how = MAKE[type(recipe.zoo.fit)](recipe.zoo.fit, job, members, add)
    data = shards.encode(columns, {**job.description, **how})
    job.store.publish(f"{recipe.folder}/shards/{shard_name(shard)}", data)
    return ShardDone(shard, len(members), int((columns["status"] != "ok").sum()))


class LocalEngine:
    """One shard after another in this process, on one thread; needs no Ray."""

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        """Fit and publish these shards in order."""
        before, threads = 0, torch.get_num_threads()
        try:
            for shard in missing:
                done = fit_shard(job, shard, lambda n, b=before: progress(b + n))  # type: ignore[misc]
                before += done.rows
                yield done
        finally:
            torch.set_num_threads(threads)
