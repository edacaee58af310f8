"""Every shard of a zoo, read and verified one at a time; bad ones are reported, not raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zoo_gen.errors import CorruptShard, StorageError
from zoo_gen.zoo.layout import shard_name
from zoo_gen.zoo.store import Store
from zoo_gen.zoo.zoo import Rows, ZooReader

ASIDE = "aside"  # folder of a zoo for shards that were replaced


@dataclass(frozen=True)
class BadShard:
    """A shard that cannot be used.

    Attributes:
        name: of its file.
        kind: missing, corrupt (or of another zoo), or unreadable.
        reason: what was found.
    """

    name: str
    kind: Literal["missing", "corrupt", "unreadable"]
    reason: str


def each_shard(zoo: ZooReader) -> Iterator[Rows | BadShard]:
    """Every shard in order, every byte verified, or why it cannot be used."""
    rows, absent = rows_per_shard(zoo), set(zoo.missing())
    for shard, start in enumerate(range(0, len(zoo), rows)):
        name = shard_name(shard)
        if name in absent:
            yield BadShard(name, "missing", "it is not there")
            continue
        try:
            yield zoo.rows(start, min(start + rows, len(zoo)))
        except CorruptShard as error:
            yield BadShard(name, "corrupt", str(error.__cause__))
        except StorageError as error:
            yield BadShard(name, "unreadable", str(error))


def set_aside(zoo: ZooReader, shard: BadShard) -> str:
    """Move a shard that is corrupt, or of another zoo, to where no reader looks.

    Returns:
        Its new place. What was set aside under the same name before is replaced.
    """
    old, new = zoo.path(f"shards/{shard.name}"), zoo.path(f"{ASIDE}/{shard.name}")
    zoo.store.publish(new, zoo.store.read(old))
    zoo.store.remove(old)
    return zoo.store.url(new)


def strays(zoo: ZooReader) -> list[str]:
    """Names of files among the shards that are none of this zoo's."""
    own = {shard_name(i) for i in range(-(-len(zoo) // rows_per_shard(zoo)))}
    return [name for name in zoo.store.names(zoo.path("shards")) if name not in own]


def rows_per_shard(zoo: ZooReader) -> int:
    """Networks of a whole shard."""
    return int(zoo.description["recipe"]["zoo"]["rows_per_shard"])


class Measured(Store):
    """A store that remembers how long each file was that it read.

    Attributes:
        sizes: path -> bytes.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.sizes: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        """As `Store.read`."""
        data = super().read(path)
        self.sizes[path] = len(data)
        return data
