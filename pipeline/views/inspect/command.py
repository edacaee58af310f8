"""`dwszoo inspect`, step by step."""

from __future__ import annotations

from rich.console import Console

from pipeline.commands.progress import Bar
from pipeline.views.inspect.places import find
from pipeline.views.inspect.words import describe, verdict
from pipeline.views.pages.place import page_place
from pipeline.views.pages.sheet import plain, size
from zoo_gen import ConfigError, Store, ZooError, ZooReader
from zoo_gen.health.health import examine
from zoo_gen.health.shard_check import BadShard, each_shard, set_aside, strays
from zoo_gen.health.verdict import findings, shard_findings


def inspect_zoo(
    name: str, root: str, html: str | None, source: str | None, verify: bool, mend: bool = False
) -> None:
    """Look at a zoo, tell what is in it, write its page.

    Args:
        name: of the zoo, or its folder.
        root: where zoos are.
        html: file of the page, None for none.
        source: where the signals lie, for the page; None where the recipe tells all.
        verify: whether to check shards and nothing else.
        mend: whether to do this and set corrupt shards aside.

    Raises:
        ConfigError: options that do not go together.
        ZooError: shards are missing or bad; after everything else was told.
    """
    if (verify or mend) and html:
        raise ConfigError(
            f"--{'mend' if mend else 'verify'}: checks the shards alone; leave it out, or --html"
        )
    if source and not html:
        raise ConfigError("--source: is for the page; add --html FILE")
    out, err = Console(), Console(stderr=True)
    # what hinders a page is told before a long pass
    place = page_place(html, "inspect") if html else None
    zoo = find(Store(root), name)
    if place:
        place[0].check_writable()
    if verify or mend:
        _verify(zoo, mend, out, err)
        return
    from pipeline.views.inspect.targets import load_targets

    targets = load_targets(zoo, source, err) if place else None
    with Bar(err, f"reading {plain(zoo.url)}", len(zoo), "networks") as bar:
        bar.update(0)
        health = examine(zoo, bar.update)
    found = findings(health)
    out.print(describe(health, found))
    if place and targets:
        from pipeline.views.inspect.page import page

        text = page(health, found, targets).encode()
        place[0].publish(place[1], text)
        out.print(f"page  {place[0].url(place[1])} ({size(len(text))})", markup=False)
    _require_shards(health.bad)


def _verify(zoo: ZooReader, mend: bool, out: Console, err: Console) -> None:
    bad, done = [], 0
    with Bar(err, f"verifying {plain(zoo.url)}", len(zoo), "networks") as bar:
        bar.update(0)
        for found in each_shard(zoo):
            if isinstance(found, BadShard):
                bad.append(found)
            else:
                done += len(found)
            bar.update(done)
    if mend:
        bad = [_mended(zoo, shard, out) for shard in bad]
    told = list(shard_findings(zoo, bad, strays(zoo)))
    if not bad:
        whole = zoo.description["shards"]
        out.print(f"all {whole:,} shards are whole, every byte verified", highlight=False)
    if told:
        out.print(verdict(told))
    _require_shards(bad)


def _mended(zoo: ZooReader, shard: BadShard, out: Console) -> BadShard:
    """A corrupt shard set aside, so that it is missing; any other as it is."""
    if shard.kind != "corrupt":
        return shard
    out.print(f"{shard.reason}: set aside as {set_aside(zoo, shard)}", markup=False, soft_wrap=True)
    return BadShard(shard.name, "missing", "it was set aside")


def _require_shards(bad: list[BadShard]) -> None:
    """Raise `ZooError` if a shard cannot be used."""
    if bad:
        kinds = [shard.kind for shard in bad]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        raise ZooError(
            f"{len(bad)} shards cannot be used ({counts}: {', '.join(s.name for s in bad)}); what "
            "mends them is told above"
        )
