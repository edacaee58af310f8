"""Configuration: typed, every key known, every wrong one named with the nearest right one."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Discriminator, TypeAdapter, ValidationError

from training.augmentation import Augmentation
from training.loop import Training
from training.models import AnyNetwork, DwsNetwork, MlpNetwork
from zoo_gen import AnySource, ConfigError, Fit, Split, Zoo

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
WORDS = {float: "number", int: "whole number", types.NoneType: "null"}
FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Model:
    """A model of a config.

    Attributes:
        network: what is built; its ``kind`` says which.
        training: how it is trained.
    """

    network: Annotated[AnyNetwork, Discriminator("kind")]
    training: Training


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
        source: where the signals come from; its ``kind`` says which.
        zoo: how networks are fitted to them.
        models: name -> what is trained; none for a zoo alone.
        seeds: each model is trained once per seed.
        limit: use the first signals only (of each part of the source in proportion).
        tracking: where runs are tracked.
    """

    name: str
    description: str
    source: Annotated[AnySource, Discriminator("kind")]
    zoo: Zoo
    models: dict[str, Model] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int | None = None
    tracking: TrackingOptions = field(default_factory=TrackingOptions)

    def __post_init__(self) -> None:
        for name in (self.name, *self.models):
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


# the floors below stay free of pydantic; here their dataclasses are told to refuse unknown keys
for _cls in (
    Config,
    Model,
    TrackingOptions,
    Zoo,
    Fit,
    Split,
    *typing.get_args(AnySource),
    DwsNetwork,
    MlpNetwork,
    Training,
    Augmentation,
):
    _cls.__pydantic_config__ = ConfigDict(extra="forbid")


def built_in() -> dict[str, Path]:
    """Name -> file of the configs that come with the package."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "configs").glob("*.yaml"))}


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
    file = _find(name)
    try:
        raw = yaml.load(file.read_text(), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"config {file}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"config {file}: expected keys and values, got {type(raw).__name__}")
    for change in changes:
        _set(raw, change)
    if limit is not None:
        raw["limit"] = limit
    try:
        text = json.dumps(raw, default=str)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config {file}: an anchor refers to itself") from error
    try:
        config = TypeAdapter(Config).validate_json(text, strict=True)
    except ValidationError as error:
        # a wrong value of a union is told once, not once for each of its kinds
        told = dict.fromkeys(_explain(e, raw) for e in error.errors())
        raise ConfigError("; ".join(told)) from error
    return config, yaml.safe_dump(raw, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a number: 5e-3 is one. A key given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As in PyYAML, which would keep the last of two equal keys and say nothing."""
        seen: set[str] = set()
        for key, _ in node.value:
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


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean X?)" where a known word is near, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _find(name: str) -> Path:
    known = built_in()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    raise ConfigError(
        f"config {name}: there is no such file and no built-in config of this name"
        f"{nearest(name, list(known))}; built in: {', '.join(known)}"
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


def _explain(error: Any, raw: dict[str, Any]) -> str:
    """One of pydantic's errors as: key, what came, what is allowed."""
    path, owner = _locate(list(error["loc"]), raw)
    key = ".".join(str(part) for part in path)
    kind, got = error["type"], error["input"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [f.name for f in fields(owner)] if owner else []
        return f"{key}: unknown key{nearest(str(path[-1]), known)}; allowed: {', '.join(known)}"
    if kind in ("missing", "missing_argument") and not _words(_hints(owner).get(path[-1])):
        return f"{key}: missing; it has no default"
    if kind == "value_error":
        return f"{key}.{error['ctx']['error']}" if key else str(error["ctx"]["error"])
    if kind.startswith("union_tag"):
        context = error.get("ctx", {})
        allowed = context.get("expected_tags", "").replace("'", "")
        tag = str(context.get("tag", "nothing"))
        hint = nearest(tag, allowed.split(", "))
        return f"{key}.kind: got {tag}{hint}; allowed: {allowed or 'a kind is needed'}"
    if kind == "literal_error":
        return f"{key}: got {got!r}, expected {error['ctx']['expected']}"
    if words := _words(_hints(owner).get(path[-1])):
        for part in path:
            raw = raw[part]
        return f"{key}: got {json.dumps(raw, default=str)}, expected {words}"
    expected = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{key}: got {json.dumps(got, default=str)}, expected {expected}"


def _locate(loc: list[Any], raw: Any) -> tuple[list[Any], Any]:
    """The keys as the user wrote them, and the dataclass that owns the last one.

    pydantic puts the chosen ``kind`` between the keys; it is no key of the file.
    """
    path: list[Any] = []
    owner: Any = Config
    hint: Any = Config
    for i, part in enumerate(loc):
        options = [h for h in _options(hint) if is_dataclass(h)]
        if len(options) > 1:
            hint = next(o for o in options if typing.get_args(_hints(o)["kind"])[0] == part)
            continue
        if options:
            owner = options[0]
            hint = _hints(owner).get(part) if i < len(loc) else None
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
        elif _words(hint):  # what follows is an index or the kind that did not fit, no key
            break
        path.append(part)
    return path, owner


def _words(hint: Any) -> str:
    """What a field takes that is a list of fixed length, or such a list or something else.

    Empty for all other fields.
    """
    options = _options(hint)
    lists = [h for h in options if typing.get_origin(h) is tuple and ... not in typing.get_args(h)]
    plain = [WORDS[h] for h in options if h in WORDS]
    both = [f"[{', '.join(WORDS[a] for a in typing.get_args(h))}]" for h in lists] + plain
    return " or ".join(both) if lists else ""


def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _options(hint: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return list(typing.get_args(hint))
    return [hint]
