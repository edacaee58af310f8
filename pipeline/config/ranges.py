"""The search space of a config: ranges that stand in place of values.

``learning_rate: {log_uniform: [1e-4, 1e-2], default: 2e-3}`` is 2e-3 to every command but
`dwszoo tune`.
"""

from __future__ import annotations

import copy
import difflib
import json
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

from pipeline.config.files import nearest
from training.search.space import Dimension, Params, Space
from zoo_gen import ConfigError, Draw
from zoo_gen.recipe.classifier import HYPERPARAMETERS
from zoo_gen.recipe.draws import DISTRIBUTIONS, tupled

SEARCHED = ("source", "zoo", "models")
Path = tuple[str | int, ...]


def divide(raw: dict[str, Any]) -> tuple[dict[str, Any], list[Dimension]]:
    """A config without its ranges, and the ranges.

    Args:
        raw: as it stands in the file.

    Returns:
        The config with each range's default in its place, or what is first in the range; and the
        ranges, not yet checked against the types of the config.

    Raises:
        ConfigError: a wrong range; names the key, what came, what is allowed.
    """
    found = [_dimension(path, node) for path, node in _ranges(raw, ())]
    plain = copy.deepcopy(raw)
    for dimension in found:
        default = dimension.default
        put(plain, dimension.path, dimension.range.extremes[0] if default is None else default)
    return plain, found


def typed(
    plain: dict[str, Any], found: list[Dimension], check: Callable[[dict[str, Any]], Any]
) -> Space:
    """The space of these ranges, after a check of the values that each can give.

    Args:
        plain: the config without them.
        found: the ranges.
        check: the config's own check, which gives it typed.

    Raises:
        ConfigError: a range can give a value that the config refuses.
    """
    config = check(plain)
    for dimension in found:
        for value in dimension.range.extremes:
            check(placed(plain, {dimension.path: value}))
    return Space(
        tuple(Dimension(d.path, d.range, _whole(config, d.path), d.default) for d in found)
    )


def require_defaults(found: list[Dimension]) -> None:
    """Raise `ConfigError` unless each range has a default: only a search does without."""
    for dimension in found:
        if dimension.default is None:
            raise ConfigError(
                f"{dimension.key}: is a range without a default, which `dwszoo tune` alone can "
                "use; add one, such as {log_uniform: [0.0001, 0.01], default: 0.002}"
            )


def placed(plain: dict[str, Any], values: dict[Path, Any]) -> dict[str, Any]:
    """A config with these values at these paths."""
    changed = copy.deepcopy(plain)
    for path, value in values.items():
        put(changed, path, value)
    return changed


def with_params(plain: dict[str, Any], space: Space, params: Params) -> dict[str, Any]:
    """A config with the values of one trial."""
    return placed(plain, {d.path: params[d.key] for d in space.dimensions})


def put(raw: Any, path: Path, value: Any) -> None:
    """Set one value, lists for tuples."""
    for part in path[:-1]:
        raw = raw[part]
    raw[path[-1]] = json.loads(json.dumps(value))


def _ranges(node: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Path and content of every range, in the order of the config."""
    if isinstance(node, list):
        for i, entry in enumerate(node):
            yield from _ranges(entry, (*path, i))
    if not isinstance(node, dict):
        return
    if path in ((), ("models",)):  # their keys are names, not settings
        for key, entry in node.items():
            yield from _ranges(entry, (*path, key))
        return
    if any(draw in node for draw in DISTRIBUTIONS):
        yield path, node
        return
    _refuse_misspelt(node, path)
    # of every kind but siren, so that a misspelt kind is named, and not its ranges
    drawn = (
        HYPERPARAMETERS if path == ("zoo", "fit") and node.get("kind", "siren") != "siren" else ()
    )
    for key, entry in node.items():
        if key in drawn and not _has_default(entry):
            continue  # drawn for each network of the zoo
        yield from _ranges(entry, (*path, key))


def _has_default(node: Any) -> bool:
    return isinstance(node, dict) and "default" in node


def _refuse_misspelt(node: dict[str, Any], path: Path) -> None:
    """Raise `ConfigError` for a mapping that can only be a misspelt range."""
    for key, value in node.items():
        close = difflib.get_close_matches(str(key), DISTRIBUTIONS, n=1, cutoff=0.7)
        if close and isinstance(value, list) and set(node) <= {key, "default"}:
            raise ConfigError(
                f"{_text(path)}: unknown range {key} (did you mean {close[0]}?); "
                f"allowed: {', '.join(DISTRIBUTIONS)}"
            )


def _dimension(path: Path, node: dict[str, Any]) -> Dimension:
    key = _text(path)
    if path[0] not in SEARCHED:
        raise ConfigError(f"{key}: cannot be searched; values of {', '.join(SEARCHED)} can")
    allowed = [*DISTRIBUTIONS, "default"]
    for word in node:
        if word not in allowed:
            raise ConfigError(
                f"{key}.{word}: unknown key{nearest(str(word), allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )
    try:
        draw = Draw.read({word: node[word] for word in DISTRIBUTIONS if word in node})
        return Dimension(path, draw, default=tupled(node.get("default")))
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}") from error


def _whole(config: Any, path: Path) -> bool:
    """Whether the config takes only whole numbers here."""
    owner = config
    for part in path[:-1]:
        owner = getattr(owner, str(part)) if is_dataclass(owner) else owner[part]
    if is_dataclass(owner):
        hint = typing.get_type_hints(type(owner))[str(path[-1])]
        options = typing.get_args(hint) or (hint,)
        return int in options and float not in options
    return isinstance(owner[path[-1]], int)


def _text(path: Path) -> str:
    return ".".join(map(str, path))
