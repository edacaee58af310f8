"""What a zoo is: a recipe, from which every row follows and nothing else does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.recipe.fit import UNLESS_DEFAULT
from zoo_gen.recipe.fit import Fit as Fit
from zoo_gen.recipe.maker import FORMAT as FORMAT
from zoo_gen.recipe.split import SPLITS as SPLITS
from zoo_gen.recipe.split import Split as Split
from zoo_gen.sources import Signals
from zoo_gen.sources.base import at_least

AnyFit = Fit | Classifier
"""Every `Maker`, as a config names them."""
MAKERS: dict[str, type[Fit] | type[Classifier]] = {"siren": Fit, "classifier": Classifier}


@dataclass(frozen=True)
class Zoo:
    """The part of a config that describes a zoo, beside its source.

    Attributes:
        fit: how each network is fitted or trained; its ``kind`` says which, siren where it is left
            out.
        split: how signals (of classifiers: runs) are divided.
        views: networks per signal, each from its own initialisation; of classifiers the number of
            snapshots of a run, whatever is written here.
        seed: of the initialisations.
        rows_per_shard: networks per Parquet file; about a minute of fitting on one core. Of
            classifiers a multiple of the snapshots.
        most_diverged: share of the networks that may diverge; if more do, generation stops. Not of
            classifiers, whose settings may be drawn wildly. No part of the hash.
    """

    fit: AnyFit = field(metadata={"discriminator": "kind"})
    split: Split
    views: int = 1
    seed: int = 0
    rows_per_shard: int = 512
    most_diverged: float = field(default=0.5, metadata={"hash": False})

    def __post_init__(self) -> None:
        if not 0 <= self.most_diverged <= 1:
            raise ConfigError(f"most_diverged: got {self.most_diverged}, expected 0 to 1")
        at_least("views", self.views, 1)
        at_least("rows_per_shard", self.rows_per_shard, 1)
        # so that counts and the hash are those of any zoo
        self.__dict__["views"] = self.fit.views(self.views, self.rows_per_shard)


@dataclass(frozen=True)
class Recipe:
    """Everything that changes a zoo's rows.

    Attributes:
        name: readable half of the zoo's folder.
        source: the source's own description, without its location.
        fingerprint: of the source's signals.
        signals: how many of them are used (the first, of each part in proportion); of classifiers
            the number of runs.
        zoo: fitting, split, views, seeds, rows per shard.
    """

    name: str
    source: dict[str, Any]
    fingerprint: str
    signals: int
    zoo: Zoo

    @classmethod
    def of(
        cls, name: str, source: Any, signals: Signals, zoo: Zoo, limit: int | None = None
    ) -> Recipe:
        """The recipe for these loaded signals.

        Args:
            name: of the zoo.
            source: the description that they were loaded from.
            signals: those that members of this kind see (`Maker.visible`).
            zoo: how networks are fitted to them.
            limit: of runs of classifiers, the first; None for all.

        Raises:
            ConfigError: networks that do not fit the signals, or an empty split.
        """
        groups = zoo.fit.groups(signals, limit)
        recipe = cls(name, hashed(source), signals.fingerprint, groups, zoo)
        recipe.assigned(signals)
        return recipe

    def space(self, signals: Signals) -> WeightSpace:
        """The weight space of the networks, made from these signals."""
        return self.zoo.fit.space_of(signals)

    def assigned(self, signals: Signals) -> npt.NDArray[np.str_]:
        """The split of each signal, of classifiers of each run."""
        return self.zoo.fit.splits(self.zoo.split, signals, self.signals)

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
        """Of the initialisation: a function of the zoo's seed and the member alone, 0..2^63-1.

        Of classifiers it is taken of the run, and all of a run's draws follow from it. Where the
        initialisation is shared, it is a function of the view.
        """
        index = self.zoo.fit.seed_index(member, self.zoo.views)
        digest = hashlib.sha256(f"init {self.zoo.seed} {index}".encode()).digest()
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
    def format(self) -> int:
        """Of the rows: what follows from the same recipe in another format is another zoo."""
        return self.zoo.fit.format

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits over everything that changes the rows."""
        return hash8({"format": self.format, **self.as_dict()})

    @property
    def folder(self) -> str:
        """Folder of the zoo below the root."""
        return f"zoos/{self.name}-{self.hash8}"


def hashed(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested ones too, without those that the hash leaves out.

    Raises:
        ConfigError: a value of another kind than a config has, as a plug-in's class may have made.
    """
    out: dict[str, Any] = {}
    for item in fields(value):
        entry, part = getattr(value, item.name), item.metadata.get("hash", True)
        if part is True or (part == UNLESS_DEFAULT and entry != item.default):
            nested = is_dataclass(entry) and not isinstance(entry, type)
            out[item.name] = hashed(entry) if nested else entry
    try:
        plain: dict[str, Any] = json.loads(json.dumps(out))
    except TypeError as error:
        raise ConfigError(
            f"{type(value).__name__}: {error}, so it has no hash; fields are numbers, words, "
            "true or false, tuples of them, or dataclasses"
        ) from error
    return plain


def hash8(data: dict[str, Any]) -> str:
    """Eight hexadecimal digits of the SHA-256 of plain data, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
