"""Read a zoo: its space, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dws import WeightSpace
from zoo_gen import shards
from zoo_gen.errors import CorruptShard, ZooError
from zoo_gen.fit import render
from zoo_gen.generate import read_description, shard_name
from zoo_gen.recipe import Fit
from zoo_gen.store import Store

if TYPE_CHECKING:
    import pandas as pd

READERS = 2


class ZooReader:
    """A zoo on disk.

    Attributes:
        description: the content of ``zoo.json``.
        space: the weight space of its networks.
        fit: how they were fitted.
        signals: number of signals they were fitted to.

    Raises:
        ZooError: there is no zoo at this place.
    """

    def __init__(self, store: Store, folder: str = "") -> None:
        self.store, self.folder = store, folder
        self.description = read_description(store, folder)
        try:
            self.hash8: str = self.description["hash8"]
            self.space = WeightSpace.mlp(self.description["space"]["widths"])
            fit = dict(self.description["recipe"]["zoo"]["fit"])
            self.fit = Fit(**{**fit, "widths": tuple(fit["widths"])})
            self._members = int(self.description["members"])
            self._shards = int(self.description["shards"])
            self._rows = int(self.description["recipe"]["zoo"]["rows_per_shard"])
            self.signals = int(self.description["recipe"]["signals"])
            if min(self._members, self._shards, self._rows) < 1:
                raise ValueError("it describes no networks")
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{self.url}/zoo.json does not describe a zoo ({error!r})") from error

    @property
    def url(self) -> str:
        """Where the zoo lies."""
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
        return torch.from_numpy(self.columns(theta=True)["theta"])

    def frame(self) -> pd.DataFrame:
        """Everything but ``theta``, a row per network."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def render(self, theta: Tensor, coordinates: np.ndarray[Any, Any]) -> Tensor:
        """What networks of this zoo draw at ``[points, d_in]``: ``[m, points, d_out]``."""
        return render(self.fit, theta, coordinates)

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
            yield from pool.map(lambda i: self._shard(i, theta), range(self._shards))

    def _shard(self, shard: int, theta: bool) -> shards.Columns:
        path = self.path(f"shards/{shard_name(shard)}")
        name = self.store.url(path)
        columns, description = shards.decode(self.store.read(path), name, theta)
        if description.get("hash8") != self.hash8:
            raise CorruptShard(
                f"{name} belongs to another zoo (hash {description.get('hash8')}, expected "
                f"{self.hash8}); delete it and run `dwszoo generate` again to fit it anew"
            )
        lacking = shards.CONTRACT - set(columns)
        size = columns["theta"].shape[1:] if "theta" in columns else (self.space.size,)
        if lacking or size != (self.space.size,):
            raise CorruptShard(
                f"{name} is corrupt (it lacks {sorted(lacking) or 'weights of the zoo'}); delete "
                "it and run `dwszoo generate` again to refit it"
            )
        rows = self._rows
        expected = np.arange(shard * rows, min((shard + 1) * rows, self._members))
        if not np.array_equal(columns["member"], expected):
            raise CorruptShard(
                f"{name} does not hold the members {expected[0]}..{expected[-1]}; delete it and "
                "run `dwszoo generate` again to fit it anew"
            )
        return columns


def open_zoo(path: str) -> ZooReader:
    """Open a zoo by its folder, local or on S3.

    Raises:
        ZooError: there is no zoo at this place.
    """
    return ZooReader(Store(path))
