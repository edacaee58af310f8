"""pydantic's errors as lines for people: the key as written, what came, what is allowed."""

from __future__ import annotations

import json
import re
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from pipeline.config.files import nearest
from pipeline.config.unions import hints
from training.models import NETWORKS
from training.tasks import TASKS
from zoo_gen import SOURCES, Draw

TYPES = {float: "number", int: "whole number", str: "word", types.NoneType: "null"}
DRAW = "a draw such as {log_uniform: [0.01, 1]}"
DRAWN = {"choice": "a list of numbers or words"}  # the others are ranges
MODEL = re.compile(r"models\.([^.:]+)\.")
KINDS = {"source": SOURCES, "task": TASKS, "network": NETWORKS}


def explain(error: Any, raw: dict[str, Any], root: Any) -> str:
    """One of pydantic's errors as: key, what came, what is allowed.

    Args:
        error: of ``ValidationError.errors()``.
        raw: what came.
        root: the dataclass that was expected.

    Returns:
        A line; empty where another error of the same value says more.
    """
    path, owner = _locate(list(error["loc"]), root)
    key = ".".join(str(part) for part in path)
    kind, got = error["type"], error["input"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [f.name for f in fields(owner)] if owner else []
        inner = [place for place in _nested_keys(raw) if place.endswith(f".{key}")]
        meant = nearest(str(path[-1]), known) or nearest(key, inner)
        return f"{key}: unknown key{meant}; allowed: {', '.join(known)}"
    if kind in ("missing", "missing_argument") and not _expected(hints(owner).get(path[-1])):
        return f"{key}: missing; it has no default"
    if kind == "value_error":
        return f"{key}.{error['ctx']['error']}" if key else str(error["ctx"]["error"])
    if kind.startswith("union_tag"):
        context = error.get("ctx", {})
        allowed = context.get("expected_tags", "").replace("'", "")
        tag = str(context.get("tag", "nothing"))
        hint = nearest(tag, allowed.split(", "))
        kinds = KINDS.get(str(path[-1]))
        problem = kinds.problem(tag) if kinds is not None else ""
        if problem:
            return f"{key}.kind: got {tag}; {problem}"
        return f"{key}.kind: got {tag}{hint}; allowed: {allowed or 'a kind is needed'}"
    if kind == "literal_error":
        return f"{key}: got {got!r}, expected {error['ctx']['expected']}"
    expected = _expected(hints(owner).get(path[-1]))
    if owner is Draw:
        expected = DRAWN.get(path[-1], "[least, most], two numbers")
    if expected:
        for part in path:
            raw = raw[part]
        if isinstance(raw, dict) and expected.endswith(DRAW):
            return ""  # another error is about the draw itself
        return f"{key}: got {json.dumps(raw, default=str)}, expected {expected}"
    expected = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    if kind == "tuple_type":
        default = next((f.default for f in fields(owner) if f.name == path[-1]), None)
        example = default if isinstance(default, tuple) and default else [got]
        expected = f"a list, such as {json.dumps(example)}"
    expected = expected.replace("an object", "keys and values")
    return f"{key}: got {json.dumps(got, default=str)}, expected {expected}"


def merge_models(lines: list[str]) -> list[str]:
    """The same lines, one for all models that have the same problem."""
    alike: dict[str, list[str]] = {}
    for text in lines:
        model = MODEL.match(text)
        alike.setdefault(MODEL.sub("", text), []).append(model[1] if model else "")
    merged = []
    for text in dict.fromkeys(MODEL.sub("", t) for t in lines):
        first, *others = dict.fromkeys(alike[text])
        line = f"models.{first}.{text}" if first else text
        merged.append(line + (f" (also in {', '.join(others)})" if others else ""))
    return merged


def _nested_keys(raw: dict[str, Any]) -> list[str]:
    """The keys of a config inside other keys, as ``source.path``."""
    return [
        f"{key}.{inner}" for key, value in raw.items() if isinstance(value, dict) for inner in value
    ]


def _locate(loc: list[Any], root: Any) -> tuple[list[Any], Any]:
    """The keys as the user wrote them, and the dataclass that owns the last one.

    pydantic puts the chosen ``kind`` between the keys; it is no key of the file.
    """
    path: list[Any] = []
    owner: Any = root
    hint: Any = root
    for i, part in enumerate(loc):
        if Draw in _options(hint) and len(_options(hint)) > 1:  # a number or word, or a draw of it
            if part != Draw.__name__:
                break
            hint = Draw
            continue
        options = [h for h in _options(hint) if is_dataclass(h)]
        if len(options) > 1:
            hint = next(o for o in options if typing.get_args(hints(o)["kind"])[0] == part)
            continue
        if options:
            owner = options[0]
            hint = hints(owner).get(part) if i < len(loc) else None
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
        elif _expected(hint):  # what follows is an index or the kind that did not fit, no key
            break
        path.append(part)
        if owner is Draw:
            break
    return path, owner


def _expected(hint: Any) -> str:
    """What a field takes that is a list of fixed length or a draw, or that or something else.

    Empty for all other fields.
    """
    options = _options(hint)
    if Draw in options:
        return " or ".join([*(TYPES[h] for h in options if h in TYPES), DRAW])
    lists = [h for h in options if typing.get_origin(h) is tuple and ... not in typing.get_args(h)]
    plain = [TYPES[h] for h in options if h in TYPES]
    both = [f"[{', '.join(TYPES[a] for a in typing.get_args(h))}]" for h in lists] + plain
    return " or ".join(both) if lists else ""


def _options(hint: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return list(typing.get_args(hint))
    return [hint]
