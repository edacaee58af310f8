"""What a zoo is: a recipe, from which every row follows and nothing else does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.sources import Signals, proportional

SPLITS = ("train", "val", "test")
FORMAT = 1  # of the columns and of how rows follow from a recipe: part of every hash


@dataclass(frozen=True)
class Fit:
    """How one network is fitted to one signal: full-batch Adam on the mean squared error.

    Attributes:
        widths: neurons per layer of the SIREN, inputs first.
        w0: frequency of the sine units.
        init: ``"siren"`` (Sitzmann et al. 2020, section 3.2) or ``"paper"`` (as Navon et al. 2023
            did: every layer but the last from U(+-sqrt(6/in)/w0), hidden biases 0, the last layer
            PyTorch's default).
        steps: of Adam (beta 0.9, 0.999; epsilon 1e-8).
        learning_rate: of Adam, constant.
        offset: added to the output, so that zero weights mean gray.
    """

    widths: tuple[int, ...]
    w0: float = 30.0
    init: Literal["siren", "paper"] = "siren"
    steps: int = 1000
    learning_rate: float = 5e-4
    offset: float = 0.5

    def __post_init__(self) -> None:
        if len(self.widths) < 3 or min(self.widths) < 1:
            raise ConfigError(
                f"widths: got {list(self.widths)}, expected input, one or more hidden and "
                "output widths, each 1 or more, for example [2, 32, 32, 1]"
            )
        _at_least("steps", self.steps, 1)
        _positive("learning_rate", self.learning_rate)
        if not np.isfinite(self.offset):
            raise ConfigError(f"offset: got {self.offset}, expected a finite number")
        _positive("w0", self.w0)

    @property
    def space(self) -> WeightSpace:
        """The weight space of the fitted networks."""
        return WeightSpace.mlp(self.widths)


@dataclass(frozen=True)
class Split:
    """How signals are divided, by signal, so that all views of one are on one side.

    The numbers are shares: exact counts where they sum to the number of signals. Where a source
    has its own test part, that part is the test split, and ``train : val`` divides the rest.

    Attributes:
        train, val, test: shares, 1 or more.
        seed: of the order in which signals are dealt.
    """

    train: int
    val: int
    test: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in SPLITS:
            _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)

    def assign(self, signals: Signals) -> npt.NDArray[np.str_]:
        """The split of each signal.

        Raises:
            ConfigError: a split would be empty.
        """
        order = np.random.default_rng(self.seed).permutation(len(signals))
        own_test = signals.part == "test"
        if own_test.any():
            rest = order[~own_test[order]]
            shares = {"train": self.train, "val": self.val}
        else:
            rest = order
            shares = {name: getattr(self, name) for name in SPLITS}
        assigned = np.full(len(signals), "test", dtype="<U5")
        counts = proportional(list(shares.values()), len(rest))
        ends = np.cumsum(counts)
        for name, end, count in zip(shares, ends, counts, strict=True):
            assigned[rest[end - count : end]] = name
        for name in SPLITS:
            if not (assigned == name).any():
                raise ConfigError(
                    f"zoo.split: {len(signals)} signals leave the {name} split empty "
                    f"(shares {self.train}/{self.val}/{self.test}); use more signals"
                )
        return assigned


@dataclass(frozen=True)
class Zoo:
    """The part of a config that describes a zoo, beside its source.

    Attributes:
        fit: how each network is fitted.
        split: how signals are divided.
        views: networks per signal, each from its own initialisation.
        seed: of the initialisations.
        rows_per_shard: networks per Parquet file; about a minute of fitting on one core.
    """

    fit: Fit
    split: Split
    views: int = 1
    seed: int = 0
    rows_per_shard: int = 512

    def __post_init__(self) -> None:
        _at_least("views", self.views, 1)
        _at_least("rows_per_shard", self.rows_per_shard, 1)


@dataclass(frozen=True)
class Recipe:
    """Everything that changes a zoo's rows.

    Attributes:
        name: readable half of the zoo's folder.
        source: the source's own description, without where it lies.
        fingerprint: of the source's signals.
        signals: how many of them are used (the first, of each part in proportion).
        zoo: fitting, split, views, seeds, rows per shard.
    """

    name: str
    source: dict[str, Any]
    fingerprint: str
    signals: int
    zoo: Zoo

    @classmethod
    def of(cls, name: str, source: Any, signals: Signals, zoo: Zoo) -> Recipe:
        """The recipe for these loaded (and limited) signals.

        Raises:
            ConfigError: widths that do not fit the signals, or an empty split.
        """
        expected = (signals.coordinates.shape[1], signals.values.shape[2])
        if (zoo.fit.widths[0], zoo.fit.widths[-1]) != expected:
            raise ConfigError(
                f"zoo.fit.widths: got {list(zoo.fit.widths)}, but the signals have {expected[0]} "
                f"inputs and {expected[1]} output(s): the first and last width must be those"
            )
        zoo.split.assign(signals)
        return cls(name, hashed(source), signals.fingerprint, len(signals), zoo)

    @property
    def members(self) -> int:
        """Networks in the zoo."""
        return self.signals * self.zoo.views

    @property
    def shards(self) -> int:
        """Parquet files in the zoo."""
        return -(-self.members // self.zoo.rows_per_shard)

    def rows(self, shard: int) -> npt.NDArray[np.int64]:
        """The members of one shard."""
        start = shard * self.zoo.rows_per_shard
        return np.arange(start, min(start + self.zoo.rows_per_shard, self.members))

    def member_seed(self, member: int) -> int:
        """Of the initialisation: a function of the zoo's seed and the member alone, 0..2^63-1."""
        digest = hashlib.sha256(f"init {self.zoo.seed} {member}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as in ``zoo.json``."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "signals": self.signals,
            "zoo": hashed(self.zoo),
        }

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits over everything that changes the rows."""
        return hash8({"format": FORMAT, **self.as_dict()})

    @property
    def folder(self) -> str:
        """Where the zoo lies below the root."""
        return f"zoos/{self.name}-{self.hash8}"


def hashed(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested ones too, without those marked ``hash: False``."""
    out: dict[str, Any] = {}
    for item in fields(value):
        if item.metadata.get("hash", True):
            entry = getattr(value, item.name)
            nested = is_dataclass(entry) and not isinstance(entry, type)
            out[item.name] = hashed(entry) if nested else entry
    plain: dict[str, Any] = json.loads(json.dumps(out))
    return plain


def hash8(data: dict[str, Any]) -> str:
    """Eight hexadecimal digits of the SHA-256 of plain data, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}: got {value}, expected {least} or more")


def _positive(key: str, value: float) -> None:
    if not (value > 0 and np.isfinite(value)):
        raise ConfigError(f"{key}: got {value}, expected a positive number")
