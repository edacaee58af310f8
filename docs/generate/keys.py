"""Every key of a config with type, default, unit and meaning, from the typed config itself."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import types
import typing
from typing import Any

import griffe

from generate.units import UNITS
from pipeline.config.config import Config
from pipeline.config.unions import hints as hints_of
from zoo_gen import Draw

WORDS = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    types.NoneType: "`null`",
}
PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}
SEE = re.compile(r"see `((?:\w+\.)*[A-Z]\w+)`\.?")  # a class; a field is shown as it stands
DRAWN = "A draw"
CODE = re.compile(r"``(.+?)``|`(.+?)`")


def config_keys() -> str:
    """Markdown: a section for each part of a config, and one for each kind where it has kinds."""
    parts: list[str] = []
    titles: dict[Any, str] = {}
    _part(Config, "", parts, titles, "The whole")
    _part(Draw, "KEY", parts, titles, DRAWN)
    return "\n\n".join(parts)


def _part(
    cls: Any, path: str, parts: list[str], titles: dict[Any, str], name: str | None = None
) -> None:
    """Add the section of one dataclass, then those of the dataclasses in its fields."""
    if cls in titles:
        return
    hints = hints_of(cls)
    kind = _kind(cls, hints)
    title = name or (f"{path}: {kind}" if kind else path)
    titles[cls] = title
    meanings = _meanings(cls)
    lines: list[str] = []
    inner: list[tuple[Any, str]] = []
    for item in dataclasses.fields(cls):
        hint = hints[item.name]
        key = f"{path}.{item.name}" if path else item.name
        below = [h for h in _members(hint) if dataclasses.is_dataclass(h) and h is not Draw]
        inner += [(h, f"{key}.NAME" if typing.get_origin(hint) is dict else key) for h in below]
        lines.append(_row(cls, item, key, hint, bool(below), meanings, kind))
    level = "##" if path.removesuffix(".NAME").count(".") == 0 else "###"
    parts += [f"{level} {title}", _summary(cls), "\n\n".join(lines)]
    for other, key in inner:
        if other in titles and titles[other].split(":")[0] != key:
            parts.append(f"### {key}\n\nAs [{titles[other]}](#{slug(titles[other])}).")
        _part(other, key, parts, titles)


def _row(
    cls: Any,
    item: dataclasses.Field[Any],
    key: str,
    hint: Any,
    below: bool,
    meanings: dict[str, str],
    kind: str,
) -> str:
    name = f"{cls.__name__}.{item.name}"
    meaning = meanings.get(
        item.name, "Chooses this section." if kind and item.name == "kind" else ""
    )
    if not meaning:
        raise ValueError(f"{name} is a config key without a line below `Attributes:`")
    unit = UNITS.get(name, "")
    if _numeric(hint) and not unit:
        raise ValueError(f"{name} is a number without a unit in docs/generate/units.py")
    titles = ["keys below" if below else _type(hint), _default(item), unit and f"unit: {unit}"]
    return f"`{key}` {'; '.join(filter(None, titles))}\n:   {meaning[0].upper()}{meaning[1:]}"


def _summary(cls: Any) -> str:
    """The docstring of a class down to its attributes, as Markdown."""
    sections = griffe.Docstring(inspect.getdoc(cls) or "").parse("google")
    text = [s.value for s in sections if s.kind is griffe.DocstringSectionKind.text]
    return markdown("\n\n".join(text))


def _meanings(cls: Any) -> dict[str, str]:
    """Field -> what its docstring says of it; ``a, b: ...`` is of both, ``see `X` `` of another."""
    sections = griffe.Docstring(inspect.getdoc(cls) or "").parse("google", warnings=False)
    found: dict[str, str] = {}
    for section in sections:
        if section.kind is griffe.DocstringSectionKind.attributes:
            for attribute in section.value:
                more = attribute.annotation if attribute.name.endswith(",") else ""
                names = f"{attribute.name}{more}".replace(" ", "").split(",")
                text = markdown(" ".join(attribute.description.split()))
                other = SEE.fullmatch(text)
                theirs = _meanings(_named(cls, other[1])) if other else {}
                found |= {name: theirs.get(name, text) for name in names}
    return found


def _named(cls: Any, name: str) -> Any:
    """A class by the name that a docstring of another gives it."""
    module, _, word = name.rpartition(".")
    return getattr(importlib.import_module(module or cls.__module__), word)


def markdown(text: str) -> str:
    """A docstring's text with Markdown's marks and YAML's word for nothing."""
    return re.sub(r"\bNone\b", "`null`", CODE.sub(lambda m: f"`{m[1] or m[2]}`", text))


def slug(title: str) -> str:
    """The anchor that Python-Markdown gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _kind(cls: Any, hints: dict[str, Any]) -> str:
    hint = hints.get("kind")
    return str(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Literal else ""


def _members(hint: Any) -> list[Any]:
    """The members of a union or a mapping's value, or the type alone."""
    if typing.get_origin(hint) is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [m for h in typing.get_args(hint) for m in _members(h)]
    if typing.get_origin(hint) is dict:
        return _members(typing.get_args(hint)[1])
    return [hint]


def _numeric(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return any(isinstance(v, int) for v in typing.get_args(hint))
    return hint in (int, float) or any(map(_numeric, typing.get_args(hint)))


def _type(hint: Any) -> str:
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _type(of[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, of)))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in of)
    if origin is tuple and of[-1] is ...:
        return f"list of {PLURALS.get(of[0], 'numbers or texts')}"
    if origin is tuple:
        return f"[{', '.join(map(_type, of))}]"
    if origin is dict:
        return f"{_type(of[0])}: {_type(of[1])}"
    if hint is Draw:
        return f"[a draw](#{slug(DRAWN)})"
    return WORDS[hint]


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        value = item.default
    elif item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    else:
        return "needed"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            f.name: getattr(value, f.name)
            for f in dataclasses.fields(value)
            if getattr(value, f.name) != f.default and f.default is not dataclasses.MISSING
        }
        return f"default `{_yaml(changed)}`" if changed else "all defaults"
    return f"default `{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value as a config would say it, in a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return value if isinstance(value, str) and value else json.dumps(value)
