"""Configuration: typed, every key known, every wrong one named with the nearest right one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.config.built_in import built_in
from pipeline.config.kinds import KindOf, refuse_unknown_keys
from pipeline.config.messages import explain, nearest, once
from pipeline.config.names import NAME
from pipeline.config.ranges import divide, require_defaults, typed
from pipeline.zoo_facts import ZooPath
from training.models import NETWORKS, Network
from training.search.settings import Tuning
from training.search.space import Space
from training.settings import Training
from training.tasks import TASKS, Classify, Task
from zoo_gen import SOURCES, ConfigError, Source, Zoo
from zoo_gen.plugins import Plugin

FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Model:
    """A model of a config.

    Attributes:
        network: what is built; its ``kind`` says which.
        training: how it is trained.
        published: a result of others to show beside it, as text with its source.
    """

    network: Annotated[Network, KindOf(NETWORKS)]
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
    """Everything a run needs to know.

    Attributes:
        name: of the zoo, the models and the MLflow experiment.
        description: a line for ``dwszoo configs``.
        source: where the signals come from, or a zoo that is there; its ``kind`` says which.
        zoo: how networks are fitted to them; left out with a zoo that is there.
        task: what is learned; its ``kind`` says which. None for the class in the column ``label``.
        models: name -> what is trained; none for a zoo alone.
        train_on: train each model on so many of the training networks, the first, for each of
            these numbers; empty for all of them.
        zoo_of: name of the zoo where it is not the config's own: configs whose source and zoo are
            the same share one.
        seeds: each model is trained once per seed.
        limit: use the first signals only (of each part of the source in proportion); of
            classifiers the first runs.
        tracking: where runs are tracked.
        tune: how `dwszoo tune` searches the ranges that stand in the place of values.
    """

    name: str
    description: str
    source: Annotated[Source | ZooPath, KindOf(SOURCES, ZooPath)]
    zoo: Zoo | None = None
    task: Annotated[Task, KindOf(TASKS)] | None = None
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
            raise ConfigError(f"{key}: the source is a zoo that is there, used whole; leave it out")
        if not isinstance(self.source, ZooPath) and self.zoo is None:
            raise ConfigError("zoo: missing; it has no default")

    @property
    def task_or_default(self) -> Task:
        """The task, where none is named the class in the column ``label``."""
        return Classify() if self.task is None else self.task


def load(name: str, changes: tuple[str, ...] = (), limit: int | None = None) -> tuple[Config, str]:
    """Read a config.

    Args:
        name: of a built-in config, or the path of a YAML file.
        changes: ``key.sub=value``, the value in YAML.
        limit: overrides the config's own.

    Returns:
        The config, and its text as YAML with the changes made.

    Raises:
        ConfigError: names the file and the key, what came, what is allowed, the nearest right key.
    """
    raw = changed(name, changes, limit)
    return loaded(raw), written(raw)


def loaded(raw: dict[str, Any]) -> Config:
    """Plain data, which may hold ranges, as a config.

    Raises:
        ConfigError: as `load`.
    """
    plain, ranges = divide(raw)
    require_defaults(ranges)
    typed(plain, ranges, checked)
    return checked(plain)


def written(raw: dict[str, Any]) -> str:
    """Plain data as YAML."""
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def read_back(text: str) -> dict[str, Any]:
    """Plain data of such YAML."""
    raw: dict[str, Any] = yaml.safe_load(text)
    return raw


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
    """A config as it stands in its file, with the changes of the command line."""
    raw = raw_config(name)
    for change in changes:
        _set(raw, change)
    if limit is not None:
        raw["limit"] = limit
    try:
        json.dumps(raw, default=str)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config {_find(name)}: an anchor refers to itself") from error
    return raw


def checked(raw: dict[str, Any]) -> Config:
    """Plain data as a config.

    Raises:
        ConfigError: names the key, what came, what is allowed, the nearest right key.
    """
    try:
        text = json.dumps(_with_kind(raw), default=str)
        return _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        # a wrong value of a union is told once, not once for each of its kinds
        told = [explain(e, raw, Config) for e in error.errors()]
        raise ConfigError("; ".join(once(list(filter(None, told))))) from error


def plugins() -> list[Plugin]:
    """What other packages offer for configs, those that cannot be used too."""
    _adapter()  # which finds out
    return [plugin for kinds in (SOURCES, TASKS, NETWORKS) for plugin in kinds.plugins]


@cache
def _adapter() -> TypeAdapter[Config]:
    refuse_unknown_keys(Config)
    return TypeAdapter(Config)


def raw_config(name: str) -> dict[str, Any]:
    """A config as it stands in its file, unchecked."""
    file = _find(name)
    try:
        raw = yaml.load(file.read_text(), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"config {file}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        came = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(f"config {file}: expected keys and values, got {came}")
    return raw


def _with_kind(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with `zoo.fit.kind`: configs are older than it, and siren where it is left out."""
    zoo = raw.get("zoo")
    if not isinstance(zoo, dict) or not isinstance(zoo.get("fit"), dict):
        return raw
    return {**raw, "zoo": {**zoo, "fit": {"kind": "siren", **zoo["fit"]}}}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a number: 5e-3 is one. A key given twice, or no word, is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As in PyYAML, which would keep the last of two equal keys and say nothing."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith((":timestamp", ":binary")):
                raise yaml.YAMLError(
                    f"a key in line {key.start_mark.line + 1} is no word; a value with braces or "
                    "brackets stands in quotes"
                )
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"the key {key.value} stands twice, again in line {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(rf"^{FLOAT.pattern}$"), list("-+.0123456789")
)
# the resolver of integers must still come first
_Loader.yaml_implicit_resolvers = {
    first: sorted(resolvers, key=lambda r: not r[0].endswith(":int"))
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _find(name: str) -> Path:
    known = built_in()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    files = [str(file) for file in Path(name).parent.glob("*.y*ml")]
    raise ConfigError(
        f"config {name}: there is no such file and no built-in config of this name"
        f"{nearest(name, [*files, *known])}; built in: {', '.join(known)}"
    )


def _set(raw: dict[str, Any], change: str) -> None:
    """Make one ``key.sub=value`` change."""
    key, equals, text = change.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {change}: expected key.sub=value, for example --set zoo.views=2")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: {text!r} is not a YAML value") from error
    for depth, part in enumerate(path[:-1]):
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {change}: {'.'.join(path[: depth + 1])} has no keys below it")
    raw[path[-1]] = value
