"""From networks of others to a zoo on disk, shard by shard.

The shard contract holds here too: a shard is a pure function of the source and its number, and is
published whole. After an interruption the same call reads what is missing and nothing else.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoo_gen.errors import SourceError, ZooError
from zoo_gen.exchange.imports.listing import Foreign
from zoo_gen.recipe.forward_pass import ForwardPass
from zoo_gen.recipe.recipe import FORMAT, Split, hash8, hashed
from zoo_gen.zoo import shards
from zoo_gen.zoo.description import write_forward_pass, write_space
from zoo_gen.zoo.layout import read_description, shard_name
from zoo_gen.zoo.store import Store

SHARD_BYTES = 32 << 20  # of weights
MOST_ROWS = 4096
AT_ONCE = 256  # networks read between two signs of progress
CONTRACT_TYPES: dict[str, npt.DTypeLike] = {
    "seed": np.int64,
    "loss": np.float32,
    "psnr": np.float32,
    "steps": np.int32,
}


@dataclass
class Imported:
    """What one call of `Import.run` did.

    Attributes:
        folder: of the zoo, below the root.
        members: networks in the zoo.
        read: networks that were read now; the others were there.
        diverged: of those read now, with weights that are not finite.
    """

    folder: str
    members: int
    read: int = 0
    diverged: int = 0


@dataclass
class Import:
    """An import that can be run, and run again.

    Attributes:
        store: the root.
        name: readable half of the zoo's folder.
        source: the networks.
        split: how signals are divided where the source does not.
        forward_pass: what the networks compute; None for what the source says.
        rows_per_shard: None for as many as make 32 MB, 4,096 at most.
    """

    store: Store
    name: str
    source: Foreign
    split: Split
    forward_pass: ForwardPass | None = None
    rows_per_shard: int | None = None

    @property
    def members(self) -> int:
        """Networks of the zoo."""
        return len(self.source.listing)

    @property
    def what_they_compute(self) -> ForwardPass:
        """As given, or as the source says."""
        return self.forward_pass or self.source.forward_pass

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that changes a row."""
        source, listing = self.source, self.source.listing
        rows = self.rows_per_shard or max(
            1, min(MOST_ROWS, SHARD_BYTES // (4 * source.layout.space.size))
        )
        return {
            "name": self.name,
            "source": {
                **{"kind": "import", "format": source.format, "skipped": source.skipped},
                **source.reading.describe(),
            },
            "fingerprint": listing.fingerprint,
            "signals": len(np.unique(listing.signal)),
            "network": write_forward_pass(self.what_they_compute, source.format),
            "zoo": {
                "fit": None,
                "split": hashed(self.split),
                "own_split": hash8({"split": listing.split.tolist()}),
                "views": int(listing.view.max()) + 1,
                "rows_per_shard": rows,
            },
        }

    @property
    def folder(self) -> str:
        """Where the zoo lies below the root."""
        return f"zoos/{self.name}-{self.hash8}"

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits over everything that changes a row."""
        return hash8({"format": FORMAT, **self.recipe})

    def run(self, progress: Callable[[int], None] = lambda done: None) -> Imported:
        """Read whatever is missing of the zoo.

        Args:
            progress: called with the number of networks that are there, from 0 to ``members``.

        Raises:
            SourceError: a network cannot be read; names it and counts the others.
            ZooError: the folder holds another zoo.
            StorageError: the root cannot be written.
        """
        description, written = self._describe()
        self.store.sweep(f"{self.folder}/shards")
        there = set(self.store.names(f"{self.folder}/shards"))
        missing = [i for i in range(description["shards"]) if shard_name(i) not in there]
        done = Imported(self.folder, self.members)
        present = self.members - sum(len(self._rows(i)) for i in missing)
        progress(present)
        if missing:
            size = self.source.layout.space.size
            self.store.check_writable(sum(len(self._rows(i)) for i in missing) * 4 * size)
        for shard in missing:
            columns = self._columns(shard, lambda n, b=done.read: progress(present + b + n))  # type: ignore[misc]
            data = shards.encode(columns, description)
            if not written:  # not before a shard: an import that fails leaves no zoo behind
                text = json.dumps(description, indent=2).encode()
                self.store.publish(f"{self.folder}/zoo.json", text)
                written = True
            self.store.publish(f"{self.folder}/shards/{shard_name(shard)}", data)
            done.read += len(columns["member"])
            done.diverged += int((columns["status"] != "ok").sum())
        progress(self.members)
        return done

    @cached_property
    def _assigned(self) -> npt.NDArray[np.str_]:
        return self.source.listing.dealt(self.split)

    @cached_property
    def _views(self) -> npt.NDArray[np.int32]:
        return self.source.listing.view

    def _rows(self, shard: int) -> npt.NDArray[np.int64]:
        rows = self.recipe["zoo"]["rows_per_shard"]
        return np.arange(shard * rows, min((shard + 1) * rows, self.members))

    def _columns(self, shard: int, progress: Callable[[int], None]) -> shards.Columns:
        """One shard, in the order of the contract."""
        rows, listing = self._rows(shard), self.source.listing
        weights, beside = [], []
        for start in range(0, len(rows), AT_ONCE):
            theta, found = self.source.read(rows[start : start + AT_ONCE])
            weights.append(theta)
            beside.append(found)
            progress(start + len(theta))
        theta = np.concatenate(weights)
        own = {name: _joined([part[name] for part in beside]) for name in beside[0]}
        own |= {name: values[rows] for name, values in listing.columns.items()}
        known = np.asarray(own.pop("status", np.full(len(rows), "ok")))
        good = np.isfinite(theta).all(1) & (known != "diverged")
        contract = {name: own.pop(name, None) for name in CONTRACT_TYPES}
        typed = {n: _typed(n, contract[n], t, len(rows)) for n, t in CONTRACT_TYPES.items()}
        return {
            "member": rows,
            "signal": listing.signal[rows],
            "view": self._views[rows],
            "split": self._assigned[rows],
            "seed": typed["seed"],
            "theta": theta,
            "loss": typed["loss"],
            "psnr": typed["psnr"],
            "steps": typed["steps"],
            "status": np.where(good, "ok", "diverged"),
            **{n: x for n, x in own.items() if n not in shards.CONTRACT | {"theta"}},
        }

    def _describe(self) -> tuple[dict[str, Any], bool]:
        """The content of ``zoo.json``, and whether it exists already."""
        path, recipe = f"{self.folder}/zoo.json", self.recipe
        if self.store.exists(path):
            description = read_description(self.store, self.folder)
            if description.get("hash8") != self.hash8 or description.get("recipe") != recipe:
                raise ZooError(
                    f"{self.store.url(path)} describes another zoo (hash "
                    f"{description.get('hash8')}, this import is {self.hash8}); move that folder "
                    "away or choose another --name"
                )
            return description, True
        layout = self.source.layout
        description = {
            "format": FORMAT,
            "checksum": shards.SEALED,
            "hash8": self.hash8,
            "recipe": recipe,
            "space": {
                **write_space(layout.space),
                "shapes": {name: list(shape) for name, shape in layout.shapes.items()},
            },
            "members": self.members,
            "shards": -(-self.members // recipe["zoo"]["rows_per_shard"]),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__.split("+")[0],
                "numpy": np.__version__,
            },
        }
        return description, False


def _typed(
    name: str, values: npt.NDArray[Any] | None, dtype: npt.DTypeLike, rows: int
) -> npt.NDArray[Any]:
    """A column of the contract, masked where it is unknown."""
    if values is None:
        return np.ma.MaskedArray(np.zeros(rows, dtype), mask=True)
    if values.dtype.kind not in "iufb":
        raise SourceError(f"the column {name} holds text, expected numbers; rename or mend it")
    # what lies under a mask may be NaN, which is no whole number
    unknown = np.ma.getmaskarray(values)
    return np.ma.MaskedArray(
        np.where(unknown, 0, np.ma.getdata(values)).astype(dtype), mask=unknown
    )


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Masked arrays end to end (NumPy's own function has no types)."""
    data = np.concatenate([np.ma.getdata(part) for part in parts])
    return np.ma.MaskedArray(data, np.concatenate([np.ma.getmaskarray(part) for part in parts]))
