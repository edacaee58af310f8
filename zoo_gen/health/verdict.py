"""What a person should look at in a zoo, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_gen.health.health import Health
from zoo_gen.health.shard_check import BadShard
from zoo_gen.zoo.zoo import ZooReader

DIVERGED_SHARE = 0.05
DEAD_SHARE = 0.1
FLAT_SHARE = 0.05


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        what: was found, with numbers.
        advice: what to do.
        severe: whether rows are lost, so that the zoo cannot be used as it is.
    """

    what: str
    advice: str
    severe: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


def findings(health: Health) -> list[Finding]:
    """All of them, the severe ones first; none of a healthy zoo.

    Looked for: shards that are missing, corrupt, unreadable or of another zoo; files that are no
    shards; NaN or infinity in networks marked ok; more than 5% diverged; the same weights twice;
    the same seed twice (for one view); networks of one number; weights that never vary; more than
    10% of hidden neurons without any weight in, or out; more than 5% of networks that draw nothing.
    """
    shards = shard_findings(health.zoo, health.bad, health.strays)
    return [*shards, *_networks(health), *_weights(health)]


def remake_command(zoo: ZooReader) -> str:
    """The command that makes a zoo's missing shards again, for a person."""
    recipe = zoo.description["recipe"]
    source = recipe["source"]
    if source.get("kind") == "import":
        again = f"dwszoo import {source.get('format', 'FORMAT')} SRC --name {recipe.get('name')}"
        return f"`{again}` (with the options of the first time) reads them anew"
    return (
        f"`dwszoo generate` with the config {recipe.get('name')!r} and the options that made this "
        f"zoo ({zoo.signals:,} signals) fits them anew"
    )


def shard_findings(zoo: ZooReader, bad: list[BadShard], strays: list[str]) -> Iterator[Finding]:
    """Those of the shards alone; each bad one is named, with its remedy."""
    missing = [shard.name for shard in bad if shard.kind == "missing"]
    if missing:
        yield Finding(
            f"shards missing: {len(missing)} of {zoo.description['shards']} ({', '.join(missing)})",
            remake_command(zoo),
            severe=True,
        )
    for shard in bad:
        if shard.kind != "missing":
            yield Finding(*_bad_shard(zoo, shard), severe=True)
    if strays:
        yield Finding(
            f"files among the shards that are none of this zoo's: {', '.join(strays)}",
            "no command reads them, other Parquet readers may; move them away",
        )


def _bad_shard(zoo: ZooReader, shard: BadShard) -> tuple[str, str]:
    what = shard.reason if shard.name in shard.reason else f"{shard.name}: {shard.reason}"
    if shard.kind == "unreadable":
        return what, "check the disk or the connection, then inspect again"
    return what, f"`dwszoo inspect {zoo.url} --mend` moves it aside, then {remake_command(zoo)}"


def _networks(health: Health) -> Iterator[Finding]:
    diverged = health.there - health.ok
    if diverged > DIVERGED_SHARE * health.there:
        yield Finding(
            f"networks that diverged: {diverged:,} of {health.there:,} "
            f"({diverged / health.there:.0%})",
            "training leaves them out; a lower learning rate loses fewer",
        )
    if health.not_finite:
        yield Finding(
            f"networks marked ok that hold NaN or infinity: {health.not_finite:,}",
            "leave them out (status), or make the zoo again; training would fail on them",
        )
    copies, pair = health.twice(health.hashes)
    if pair:
        yield Finding(
            f"networks with the weights of an earlier one: {copies:,} (such as members {pair[0]} "
            f"and {pair[1]})",
            "keep one of each, or they may stand in training and test alike",
        )
    copies, pair = health.twice(health.seeds)
    if pair:
        yield Finding(
            f"networks with the seed and view of an earlier one: {copies:,} (such as members "
            f"{pair[0]} and {pair[1]})",
            "their initialisations are not independent; give each its own seed",
        )


def _weights(health: Health) -> Iterator[Finding]:
    if health.all_equal:
        yield Finding(
            f"networks whose weights are all one number: {health.all_equal:,}",
            "they were never trained or were blanked; leave them out",
        )
    constant = health.ends.constant
    if constant.any() and not constant.all():
        where = _tensors(health, constant.nonzero()[0].tolist())
        yield Finding(
            f"weights that are the same in every network: {constant.sum():,} of "
            f"{len(constant):,} ({where})",
            "frozen or never initialised? a model learns nothing from them",
        )
    elif constant.any():
        yield Finding("all networks are the same", "check the seeds and the source")
    if health.dead > DEAD_SHARE * max(1, health.neurons):
        yield Finding(
            "hidden neurons that look dead (no weight in, or none out): "
            f"{health.dead / health.neurons:.0%}",
            "less weight decay, a lower learning rate or fewer neurons",
        )
    if health.flat is not None and health.flat > FLAT_SHARE * max(1, health.ok):
        yield Finding(
            f"networks that draw the same value everywhere: {health.flat:,} of {health.ok:,}",
            "look at their signals; they may be blank, or the fits failed",
        )


def _tensors(health: Health, columns: list[int]) -> str:
    """Names of the tensors that hold these weights of the flat vector."""
    marks = torch.zeros(1, health.zoo.space.size)
    marks[0, columns] = 1
    split = health.zoo.space.split(marks)
    return ", ".join(f"{int(x.sum())} of {name}" for name, x in split.items() if x.any())
