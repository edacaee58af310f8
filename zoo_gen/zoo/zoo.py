"""Read a zoo: its space, rows and columns."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo_gen.errors import ConfigError, CorruptShard, ZooError
from zoo_gen.recipe.scores import Array, Scores
from zoo_gen.zoo import shards
from zoo_gen.zoo.description import read_forward_pass, read_maker, read_space
from zoo_gen.zoo.layout import read_description, shard_name
from zoo_gen.zoo.store import Store

if TYPE_CHECKING:
    import pandas as pd

READERS = 2


@dataclass(frozen=True)
class Rows:
    """Some networks of a zoo, in row order.

    Attributes:
        theta: float32 ``[k, size]``.
        columns: name -> ``[k]``: tensors of numbers, arrays of text.
    """

    theta: Tensor
    columns: dict[str, Any]

    def __len__(self) -> int:
        return len(self.theta)


class ZooReader:
    """A zoo on disk.

    Attributes:
        description: the content of ``zoo.json``.
        space: the weight space of its networks.
        maker: how they were fitted or trained, None where that is not known (they were imported).
        forward_pass: what they compute, as far as that is known.
        signals: number of signals they were fitted to.

    Raises:
        ZooError: there is no zoo at this place.
    """

    def __init__(self, store: Store, folder: str = "") -> None:
        self.store, self.folder = store, folder
        self.description = read_description(store, folder)
        self._kept: tuple[int, shards.Columns] | None = None
        try:
            self.hash8: str = self.description["hash8"]
            self.space = read_space(self.description["space"])
            recipe = self.description["recipe"]
            self.maker = read_maker(recipe)
            self.forward_pass = read_forward_pass(recipe, self.maker)
            self._members = int(self.description["members"])
            self._shards = int(self.description["shards"])
            self._rows = int(recipe["zoo"]["rows_per_shard"])
            self.signals = int(recipe["signals"])
            if min(self._members, self._shards, self._rows) < 1:
                raise ValueError("it describes no networks")
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise ZooError(f"{self.url}/zoo.json does not describe a zoo ({error!r})") from error

    @property
    def url(self) -> str:
        """Path or address of the zoo."""
        return self.store.url(self.folder)

    def __len__(self) -> int:
        """Networks of the whole zoo, fitted or not."""
        return self._members

    def missing(self) -> list[str]:
        """Names of shards that are not there."""
        there = set(self.store.names(self.path("shards")))
        return [n for n in map(shard_name, range(self._shards)) if n not in there]

    def columns(self, theta: bool = False) -> shards.Columns:
        """Columns of the whole zoo in row order, read in one pass, checksums verified.

        Args:
            theta: whether to read the weights too, as float32 ``[members, size]``.

        Returns:
            Name -> array ``[members]``.

        Raises:
            ZooError: shards are missing; says how many and which command fits them.
            CorruptShard: one cannot be trusted, or belongs to another zoo; names it.
        """
        parts = list(self._read(theta))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def theta(self) -> Tensor:
        """All weights ``[members, size]``, in row order."""
        theta, at = torch.empty(len(self), self.space.size), 0
        for part in self._read(theta=True):
            theta[at : at + len(part["theta"])] = torch.from_numpy(part["theta"])
            at += len(part["theta"])
        return theta

    def frame(self) -> pd.DataFrame:
        """Everything but ``theta``, a row per network."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def rows(self, start: int, stop: int) -> Rows:
        """The networks ``start .. stop - 1``; reads the shards that hold them and no others.

        Raises:
            IndexError: there are no such rows.
            StorageError: a shard that holds some is missing.
            CorruptShard: one cannot be trusted; names it.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start}..{stop}: the zoo has {len(self)} networks")
        first = min(start // self._rows, self._shards - 1)
        numbers = range(first, max(first + 1, -(-stop // self._rows)))
        parts = [
            _cut(self._shard_kept(i), start - i * self._rows, stop - i * self._rows)
            for i in numbers
        ]
        return _rows(parts)

    def batches(self, size: int) -> Iterator[Rows]:
        """All networks in row order, ``size`` at a time; the last batch may be shorter.

        Shards are read ahead: memory holds four of them and two batches, whatever the zoo's size
        (`zoo_gen.zoo.memory.bytes_of_batches`). A batch may share memory with others of its shard.

        Raises:
            ValueError: a size below 1.
            ZooError: as `columns`.
        """
        if size < 1:
            raise ValueError(f"batches of {size} networks; expected 1 or more")
        held: list[shards.Columns] = []
        count = 0
        for part in self._read(theta=True):
            n, start = len(part["member"]), 0
            while n - start + count >= size:
                stop = start + size - count
                yield _rows([*held, _cut(part, start, stop)], share=True)
                held, count, start = [], 0, stop
            if start < n:  # a copy, so that the shard can go
                rest = {name: x.copy() for name, x in _cut(part, start, n).items()}
                held, count = [*held, rest], count + n - start
            del part
        if held:
            yield _rows(held)

    def render(self, theta: Tensor, coordinates: np.ndarray[Any, Any]) -> Tensor:
        """Output of networks of this zoo at ``[points, d_in]``: ``[m, points, d_out]``.

        Points of images are (row, column), whichever order the networks take (`ForwardPass.grid`).

        Raises:
            ZooError: it is not known what these networks compute.
        """
        if self.maker is not None and not self.maker.coordinates:
            raise ZooError(
                f"{self.url} holds {self.maker.members_are}, which draw nothing; `evaluate` gives "
                "their loss and accuracy on images"
            )
        try:
            return self.forward_pass.render(self.space, theta, coordinates)
        except (ConfigError, ValueError) as error:
            raise ZooError(f"{self.url}: its networks cannot be drawn: {error}") from error

    def draw(self, member: int, coordinates: np.ndarray[Any, Any]) -> Tensor:
        """Output of one network at ``[points, d_in]``: ``[points, d_out]``.

        Raises:
            IndexError: there is no such member.
            DwszooError: as `render` and `rows`.
        """
        return self.render(self.rows(member, member + 1).theta, coordinates)[0]

    def evaluate(self, rows: Rows, images: Array, labels: Array) -> Scores:
        """Loss and accuracy of classifiers of this zoo on any images, clean or corrupted.

        Args:
            rows: of the zoo; ``rows.theta`` may be changed weights of the same networks.
            images: ``[n, channels, height, width]``, uint8 or floating point in [0, 1].
            labels: int64 ``[n]``, classes of the source. A network of two classes
                sees the images of these alone.

        Raises:
            ZooError: these are no classifiers, or the images are of another size.
        """
        if self.maker is None:
            raise ZooError(f"{self.url} holds no classifiers; a zoo of `zoo.fit.kind: classifier`")
        try:
            return self.maker.evaluate(self.space, rows.theta, rows.columns, images, labels)
        except ZooError as error:
            raise ZooError(f"{self.url}: {error}") from error

    def path(self, path: str) -> str:
        """A path of the zoo as one of its store."""
        return f"{self.folder}/{path}" if self.folder else path

    def _read(self, theta: bool) -> Iterator[shards.Columns]:
        if missing := self.missing():
            raise ZooError(
                f"{self.url} is not complete: {len(missing)} of {self._shards} shards are missing "
                f"(first: {missing[0]}); run `dwszoo generate` with its config to fit them"
            )
        with ThreadPoolExecutor(READERS) as pool:
            ahead: deque[Future[shards.Columns]] = deque()
            for i in range(self._shards + READERS):
                if i < self._shards:
                    ahead.append(pool.submit(self._shard, i, theta))
                if i >= READERS:
                    yield ahead.popleft().result()  # held by nothing here while the caller works

    def _shard_kept(self, shard: int) -> shards.Columns:
        """A shard, kept until another is asked for: neighbours are often asked for in turn."""
        if self._kept is None or self._kept[0] != shard:
            self._kept = shard, self._shard(shard, theta=True)
        return self._kept[1]

    def _shard(self, shard: int, theta: bool) -> shards.Columns:
        try:
            return self._verified(shard, theta)
        except CorruptShard as error:
            raise CorruptShard(
                f"{error}; `dwszoo inspect {self.url} --mend` moves it aside and names the "
                "command that makes it again"
            ) from error

    def _verified(self, shard: int, theta: bool) -> shards.Columns:
        path = self.path(f"shards/{shard_name(shard)}")
        name, rows = self.store.url(path), self._rows
        sealed = self.description.get("checksum") == shards.SEALED
        columns, description = shards.decode(self.store.read(path), name, theta, sealed)
        if (hash8 := description.get("hash8")) != self.hash8:
            raise CorruptShard(f"{name} belongs to another zoo (hash {hash8}, not {self.hash8})")
        lacking = sorted(shards.CONTRACT - set(columns))
        size = columns["theta"].shape[1:] if "theta" in columns else (self.space.size,)
        if lacking or size != (self.space.size,):
            raise CorruptShard(f"{name} is corrupt (it lacks {lacking or 'weights of the zoo'})")
        members = np.arange(shard * rows, min((shard + 1) * rows, self._members))
        if not np.array_equal(columns["member"], members):
            raise CorruptShard(f"{name} does not hold the members {members[0]}..{members[-1]}")
        return columns


def _cut(columns: shards.Columns, start: int, stop: int) -> shards.Columns:
    return {name: values[max(start, 0) : max(stop, 0)] for name, values in columns.items()}


def _rows(parts: list[shards.Columns], share: bool = False) -> Rows:
    """Rows of some shards, copied; the weights of a single shard may share its memory instead."""
    whole = {"theta"} if share and len(parts) == 1 else set()
    joined = {
        name: parts[0][name] if name in whole else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
    theta = torch.from_numpy(joined.pop("theta"))
    columns: dict[str, Any] = {
        name: values if values.dtype.kind == "U" else torch.from_numpy(values)
        for name, values in joined.items()
    }
    return Rows(theta, columns)


def open_zoo(path: str | os.PathLike[str]) -> ZooReader:
    """Open a zoo by its folder, local or ``s3://...``.

    Raises:
        ZooError: there is no zoo at this place.
    """
    return ZooReader(Store(os.fspath(path)))
