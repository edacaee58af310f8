"""What a command needs to know of its zoo, whether it is made here, is to be made, or was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dws import WeightSpace
from pipeline.lookup import find_zoo
from zoo_gen import Classifier, ConfigError, ForwardPass, Recipe, Signals, Store
from zoo_gen.recipe.forward_pass import UNKNOWN
from zoo_gen.zoo.shards import CONTRACT


@dataclass(frozen=True)
class ZooPath:
    """A zoo that is there already: imported, or made by another config.

    Attributes:
        path: its folder or ``s3://`` address, or its name (or the start of it) below the root.
    """

    kind: Literal["zoo"] = "zoo"
    path: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError(
                "path: missing; give the folder of a zoo or its name below the root, for example "
                "--set source.path=ZOO"
            )


@dataclass(frozen=True)
class ZooFacts:
    """A zoo as models and reports see it.

    Attributes:
        folder: below the root, or the path or address of a zoo elsewhere.
        name, hash8: of the zoo.
        members: networks in it.
        signals: that they were fitted to, of classifiers the number of runs.
        views: networks per signal.
        space: of the networks.
        columns: what is known of each network.
        forward_pass: what they compute, as far as that is known.
        classes: one more than the greatest label, None where there are none or they are not known.
    """

    folder: str
    name: str
    hash8: str
    members: int
    signals: int
    views: int
    space: WeightSpace
    columns: tuple[str, ...]
    forward_pass: ForwardPass = UNKNOWN
    classes: int | None = None

    @classmethod
    def planned(cls, recipe: Recipe, signals: Signals) -> ZooFacts:
        """Of a zoo that a config makes, made already or not."""
        fit = recipe.zoo.fit
        counts = (recipe.members, recipe.signals, recipe.zoo.views, recipe.space(signals))
        known = (recipe.folder, recipe.name, recipe.hash8, *counts)
        columns = (*sorted(CONTRACT), *fit.columns(signals))
        return cls(*known, columns, fit.forward_pass, fit.label_count(signals))

    @classmethod
    def found(cls, store: Store, path: str) -> ZooFacts:
        """Of a zoo that is there.

        Raises:
            ZooError: there is none at this place.
        """
        zoo = find_zoo(store, path)
        # below the root by its folder, so that the root can move; elsewhere by where it lies
        folder = zoo.url.removeprefix(f"{store.root}/")
        recipe = zoo.description["recipe"]
        columns = tuple(zoo.rows(0, 1).columns)
        return cls(
            folder,
            str(recipe["name"]),
            zoo.hash8,
            len(zoo),
            zoo.signals,
            int(recipe["zoo"].get("views", 1)),
            zoo.space,
            columns,
            zoo.forward_pass,
        )


def configs_with(columns: tuple[str, ...], raw: dict[str, dict[str, Any]]) -> list[str]:
    """Names of configs whose zoos have all these columns.

    Args:
        columns: that are needed.
        raw: name -> config, as it stands in its file.
    """
    return [name for name, config in raw.items() if set(columns) <= _columns_of(config)]


def _columns_of(config: dict[str, Any]) -> set[str]:
    source, fit = config.get("source", {}), config.get("zoo", {}).get("fit", {})
    if fit.get("kind") == "classifier":
        return {*CONTRACT, *Classifier.column_names(pairs=bool(fit.get("classes")))}
    own = {"amplitude", "frequency"} if source.get("kind") == "sine" else {"label"}
    return {*CONTRACT, *own}
