"""`dwszoo inspect`: what is in a zoo, whether it is healthy, and its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console

from pipeline.commands.options import debug_option, html_option, root_option
from pipeline.commands.shell_names import zoo_names

if TYPE_CHECKING:
    from zoo_gen import ZooReader
    from zoo_gen.health.shard_check import BadShard


@click.command()
@click.argument("zoo", shell_complete=zoo_names)
@html_option
@click.option("--source", metavar="PATH", help="For the page: where the signals are stored.")
@click.option("--verify", is_flag=True, help="Verify every byte of every shard, and nothing else.")
@click.option("--mend", is_flag=True, help="Verify every shard and quarantine the corrupt ones.")
@root_option
@debug_option
def inspect(
    zoo: str, root: str, html: str | None, source: str | None, verify: bool, mend: bool
) -> None:
    """Show what is in a zoo and whether it is healthy; verifies every checksum.

    ZOO is the folder of a zoo, or its name (or the start of it) below the root. Each finding comes
    with what to do; the exit status is 1 if shards are missing or corrupt, else 0.

    \b
    dwszoo inspect digits
    dwszoo inspect mnist --html mnist.html --source DIR
    dwszoo inspect s3://bucket/prefix/zoos/digits-1a2b3c4d --verify
    dwszoo inspect digits --mend     then the command that made the zoo, once more
    """
    from pipeline.lookup import find_zoo
    from pipeline.progress import Bar
    from pipeline.views.output_file import output_page
    from pipeline.views.text_table import printable, size
    from pipeline.views.zoo_tables import describe
    from zoo_gen import ConfigError, Store
    from zoo_gen.health.health import examine
    from zoo_gen.health.verdict import findings

    if (verify or mend) and html:
        raise ConfigError(
            f"--{'mend' if mend else 'verify'}: checks the shards alone; leave it out, or --html"
        )
    if source and not html:
        raise ConfigError("--source: is for the page; add --html FILE")
    out, err = Console(), Console(stderr=True)
    place = output_page(html, "inspect") if html else None  # a wrong name fails first
    found = find_zoo(Store(root), zoo)
    if place:
        place[0].check_writable()
    if verify or mend:
        _verify(found, mend, out, err)
        return
    from pipeline.views.targets import load_targets

    targets = load_targets(found, source, err) if place else None
    with Bar(err, f"reading {printable(found.url)}", len(found), "networks") as bar:
        bar.update(0)
        health = examine(found, bar.update)
    problems = findings(health)
    out.print(describe(health, problems))
    if place and targets:
        from pipeline.views.zoo_page import page

        text = page(health, problems, targets).encode()
        place[0].publish(place[1], text)
        out.print(f"page  {place[0].url(place[1])} ({size(len(text))})", markup=False)
    _require_shards(health.bad)


def _verify(zoo: ZooReader, mend: bool, out: Console, err: Console) -> None:
    from pipeline.progress import Bar
    from pipeline.views.text_table import printable
    from pipeline.views.zoo_tables import verdict
    from zoo_gen.health.shard_check import BadShard, each_shard, strays
    from zoo_gen.health.verdict import shard_findings

    bad, done = [], 0
    with Bar(err, f"verifying {printable(zoo.url)}", len(zoo), "networks") as bar:
        bar.update(0)
        for found in each_shard(zoo):
            if isinstance(found, BadShard):
                bad.append(found)
            else:
                done += len(found)
            bar.update(done)
    if mend:
        bad = [_mended(zoo, shard, out) for shard in bad]
    problems = list(shard_findings(zoo, bad, strays(zoo)))
    if not bad:
        whole = zoo.description["shards"]
        out.print(f"all {whole:,} shards are intact, every byte verified", highlight=False)
    if problems:
        out.print(verdict(problems))
    _require_shards(bad)


def _mended(zoo: ZooReader, shard: BadShard, out: Console) -> BadShard:
    """A corrupt shard quarantined, so that it is missing; any other as it is."""
    from zoo_gen.health.shard_check import BadShard, set_aside

    if shard.kind != "corrupt":
        return shard
    out.print(
        f"{shard.reason}: quarantined as {set_aside(zoo, shard)}", markup=False, soft_wrap=True
    )
    return BadShard(shard.name, "missing", "it was quarantined")


def _require_shards(bad: list[BadShard]) -> None:
    """Raise `ZooError` if a shard cannot be used."""
    from zoo_gen import ZooError

    if bad:
        kinds = [shard.kind for shard in bad]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        raise ZooError(
            f"{len(bad)} shards cannot be used ({counts}: {', '.join(s.name for s in bad)}); see "
            "above for the remedy"
        )
