"""The typed configuration, and how it is read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config.errors import explain, merge_models
from pipeline.config.files import NAME, format_yaml, parse_yaml, read_config
from pipeline.config.ranges import divide, require_defaults, typed
from pipeline.config.unions import OneOf, refuse_unknown_keys
from pipeline.zoo_facts import ZooPath
from training.models import NETWORKS, Network
from training.search.settings import Tuning
from training.search.space import Space
from training.settings import Training
from training.tasks import TASKS, Classify, Task
from zoo_gen import SOURCES, ConfigError, Source, Zoo
from zoo_gen.plugins import Plugin


@dataclass(frozen=True)
class Model:
    """A model of a config.

    Attributes:
        network: what is built; its ``kind`` says which.
        training: how it is trained.
        published: a result of others to show beside it, as text with its source.
    """

    network: Annotated[Network, OneOf(NETWORKS)]
    training: Training
    published: str = ""


@dataclass(frozen=True)
class TrackingOptions:
    """Where runs are tracked.

    Attributes:
        uri: of the MLflow store; None for ``MLFLOW_TRACKING_URI`` or the root's own SQLite file.
    """

    uri: str | None = None


@dataclass(frozen=True)
class Config:
    """A zoo, the models trained on it, and how.

    Attributes:
        name: of the zoo, the models and the MLflow experiment.
        description: a line for ``dwszoo configs``.
        source: where the signals come from, or an existing zoo; its ``kind`` says which.
        zoo: how networks are fitted to them; left out with an existing zoo.
        task: what is learned; its ``kind`` says which. None: the class in the column ``label``.
        models: name -> what is trained; none for a zoo alone.
        train_on: train each model on so many of the training networks, the first, for each of
            these numbers; empty for all of them.
        zoo_of: name of the zoo where it is not the config's own: configs whose source and zoo are
            the same share one.
        seeds: each model is trained once per seed.
        limit: use the first signals only (of each part of the source in proportion); of
            classifiers the first runs.
        tracking: where runs are tracked.
        tune: how `dwszoo tune` searches the ranges given in place of values.
    """

    name: str
    description: str
    source: Annotated[Source | ZooPath, OneOf(SOURCES, ZooPath)]
    zoo: Zoo | None = None
    task: Annotated[Task, OneOf(TASKS)] | None = None
    models: dict[str, Model] = field(default_factory=dict)
    train_on: tuple[int, ...] = ()
    zoo_of: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int | None = None
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    tune: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        for name in (self.name, self.zoo_of or self.name, *self.models):
            if not NAME.fullmatch(name):
                raise ConfigError(
                    f"name: got {name!r}; names become file names: letters, digits, '_', '-', '.'"
                )
        if any(not 0 <= seed < 2**63 for seed in self.seeds):
            raise ConfigError(
                f"seeds: got {list(self.seeds)}, expected whole numbers from 0 to 2^63-1"
            )
        if len(set(self.seeds)) < max(1, len(self.seeds)):
            raise ConfigError(
                f"seeds: got {list(self.seeds)}, expected different ones, at least one"
            )
        if any(n < 1 for n in self.train_on) or len(set(self.train_on)) < len(self.train_on):
            raise ConfigError(
                f"train_on: got {list(self.train_on)}, expected different numbers, each 1 or more"
            )
        if isinstance(self.source, ZooPath) and (self.zoo is not None or self.limit is not None):
            key = "zoo" if self.zoo is not None else "limit"
            raise ConfigError(f"{key}: the source is an existing zoo, used whole; leave it out")
        if not isinstance(self.source, ZooPath) and self.zoo is None:
            raise ConfigError("zoo: missing; it has no default")

    @property
    def task_or_default(self) -> Task:
        """The task; by default the class in the column ``label``."""
        return Classify() if self.task is None else self.task


def load(name: str, changes: tuple[str, ...] = (), limit: int | None = None) -> tuple[Config, str]:
    """Read a config.

    Args:
        name: of a built-in config, or the path of a YAML file.
        changes: ``key.sub=value``, the value in YAML.
        limit: overrides the config's own.

    Returns:
        The config, and its YAML with the changes made.

    Raises:
        ConfigError: names the file and the key, what came, what is allowed, the nearest right key.
    """
    plain = changed(name, changes, limit)
    return from_plain(plain), format_yaml(plain)


def from_plain(raw: dict[str, Any]) -> Config:
    """A config of plain data, which may hold ranges.

    Raises:
        ConfigError: as `load`.
    """
    plain, ranges = divide(raw)
    require_defaults(ranges)
    typed(plain, ranges, checked)
    return checked(plain)


def load_search(
    name: str, changes: tuple[str, ...] = (), limit: int | None = None
) -> tuple[dict[str, Any], Space]:
    """Read a config that a search varies.

    Returns:
        The config without its ranges, as plain data that `checked` takes, and the ranges.

    Raises:
        ConfigError: as `load`.
    """
    plain, ranges = divide(changed(name, changes, limit))
    return plain, typed(plain, ranges, checked)


def changed(name: str, changes: tuple[str, ...], limit: int | None) -> dict[str, Any]:
    """The plain data of a config file, with the changes of the command line."""
    raw = read_config(name)
    for change in changes:
        _set(raw, change)
    return raw if limit is None else raw | {"limit": limit}


def checked(raw: dict[str, Any]) -> Config:
    """Plain data as a config.

    Raises:
        ConfigError: names the key, what came, what is allowed, the nearest right key.
    """
    try:
        text = json.dumps(_with_kind(raw), default=str)
        return _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        # a wrong value of a union is one problem, not one for each of its kinds
        problems = [explain(e, raw, Config) for e in error.errors()]
        raise ConfigError("; ".join(merge_models(list(filter(None, problems))))) from error


def plugins() -> list[Plugin]:
    """Sources, tasks and models of other packages, including those that cannot be used."""
    _adapter()  # looks for them
    return [plugin for kinds in (SOURCES, TASKS, NETWORKS) for plugin in kinds.plugins]


@cache
def _adapter() -> TypeAdapter[Config]:
    refuse_unknown_keys(Config)
    return TypeAdapter(Config)


def _with_kind(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with `zoo.fit.kind`, which is siren where it is left out."""
    zoo = raw.get("zoo")
    if not isinstance(zoo, dict) or not isinstance(zoo.get("fit"), dict):
        return raw
    return {**raw, "zoo": {**zoo, "fit": {"kind": "siren", **zoo["fit"]}}}


def _set(raw: dict[str, Any], change: str) -> None:
    """Make one ``key.sub=value`` change."""
    key, equals, text = change.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {change}: expected key.sub=value, for example --set zoo.views=2")
    try:
        value = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"--set {change}: {text!r} is not a YAML value") from error
    for depth, part in enumerate(path[:-1]):
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {change}: {'.'.join(path[: depth + 1])} has no keys below it")
    raw[path[-1]] = value
