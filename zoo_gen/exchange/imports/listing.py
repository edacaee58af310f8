"""What a source of networks holds, before any weight is read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError
from zoo_gen.exchange.imports.files import Reading
from zoo_gen.exchange.imports.layers import Layout
from zoo_gen.recipe.forward_pass import ForwardPass
from zoo_gen.recipe.recipe import SPLITS, Split
from zoo_gen.sources import proportional
from zoo_gen.zoo.shards import Columns

SAMPLES = 64  # files, or pieces of a large file, whose content enters a fingerprint
SAMPLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Listing:
    """The networks of a source, a row each, in the order in which the zoo will have them.

    Attributes:
        signal: int64 ``[m]``; networks of one signal are its views.
        split: ``[m]`` of the source's own train, val or test, or "" where it has none.
        columns: what is known without reading weights, name -> ``[m]``; masked where unknown.
        fingerprint: SHA-256 over the source's files.
    """

    signal: npt.NDArray[np.int64]
    split: npt.NDArray[np.str_]
    fingerprint: str
    columns: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def view(self) -> npt.NDArray[np.int32]:
        """Index of each network among those of its signal."""
        order = np.argsort(self.signal, kind="stable")
        ordered = self.signal[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        view = np.empty(len(order), np.int32)
        view[order] = np.arange(len(order)) - start
        return view

    def split_at(self, val: int, test: int) -> Listing:
        """The same with signals below ``val`` for training, below ``test`` for validation."""
        names = np.array(SPLITS)[np.searchsorted([val, test], self.signal, side="right")]
        return replace(self, split=names)

    def dealt(self, split: Split) -> npt.NDArray[np.str_]:
        """The split of each network: the source's own, or by seeded lot, by signal.

        Where the source has a test part, the lot decides between train and val alone.

        Raises:
            SourceError: a signal with networks in two splits of the source.
        """
        signals, first, inverse = np.unique(self.signal, return_index=True, return_inverse=True)
        own = self.split[first]
        if len(torn := np.flatnonzero(own[inverse] != self.split)):
            s = self.signal[torn[0]]
            both = sorted({str(x) for x in self.split[self.signal == s]})
            raise SourceError(
                f"the source has networks of signal {s} in the splits {both}; all networks of a "
                "signal belong to one"
            )
        shares = {n: getattr(split, n) for n in SPLITS if n == "train" or n not in own}
        order = np.random.default_rng(split.seed).permutation(len(signals))
        rest = order[own[order] == ""]
        assigned = own.astype("<U5")
        counts = proportional(list(shares.values()), len(rest))
        for name, end, count in zip(shares, np.cumsum(counts), counts, strict=True):
            assigned[rest[end - count : end]] = name
        return assigned[inverse]


class Foreign(Protocol):
    """A source of networks that were fitted elsewhere."""

    format: str
    where: Path
    forward_pass: ForwardPass
    listing: Listing
    reading: Reading
    skipped: int
    notes: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        """The architecture of its networks.

        Raises:
            SourceError: there is more than one, or none that can be read.
        """
        ...

    def read(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], Columns]:
        """Weights ``[k, size]`` of these rows of the listing, and columns that lie beside them.

        Raises:
            SourceError: one of them cannot be read; names it.
        """
        ...


def fingerprint(root: Path, files: Iterable[str]) -> str:
    """SHA-256 over names and sizes of files and the content of some of them.

    Of 64 files at most the content counts, evenly chosen (of large ones, 64 evenly chosen pieces):
    hashing everything would cost as much as importing it. Where the folder lies does not count.

    Raises:
        SourceError: one cannot be read, or is no file.
    """
    names = sorted(files)
    digest = hashlib.sha256()
    for name in names:
        digest.update(json.dumps([name, _size(f"{root}/{name}")]).encode())
    for i in np.unique(np.linspace(0, len(names) - 1, min(SAMPLES, len(names))).astype(int)):
        with open(root / names[i], "rb") as file:
            size = file.seek(0, 2)
            for at in np.linspace(0, max(0, size - SAMPLE_BYTES), SAMPLES).astype(int):
                file.seek(at)
                digest.update(file.read(SAMPLE_BYTES))
                if size <= SAMPLE_BYTES:
                    break
    return digest.hexdigest()


def _size(path: str) -> int:
    try:
        found = os.stat(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{path} is no file; take it away")
    return found.st_size


def masked(values: Sequence[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Values as an array, masked where they are None."""
    mask = np.array([v is None for v in values])
    filled = [0 if v is None else v for v in values]
    return np.ma.MaskedArray(np.array(filled, dtype), mask=mask)
