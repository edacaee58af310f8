"""The public names of the packages: each must say what it is and stand in the reference."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe

PACKAGES = ("dws", "zoo_gen", "training", "pipeline")
REFERENCE = Path(__file__).parents[1] / "reference"


def public_names() -> dict[str, Any]:
    """Dotted name -> object, of everything that a package or one within it exports."""
    packages: list[ModuleType] = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        inner = pkgutil.walk_packages(package.__path__, f"{name}.")
        packages += [package, *(importlib.import_module(m.name) for m in inner if m.ispkg)]
    return {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in getattr(package, "__all__", ())
    }


def in_reference() -> list[str]:
    """Dotted names that the pages of the reference show."""
    pages = sorted(REFERENCE.glob("*.md"))
    return [n for page in pages for n in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]


def check() -> None:
    """Raise `ValueError` for public names without a docstring, or in no page of the reference."""
    names, listed = public_names(), in_reference()
    objects = [_named(name) for name in listed]
    lacking = [name for name, it in names.items() if not any(it is o for o in objects)]
    if lacking:
        raise ValueError(
            f"public, but in no page of docs/reference: {', '.join(lacking)}; "
            f"add a line such as '::: {lacking[0]}'"
        )
    if silent := _silent(listed):
        raise ValueError(f"public, but without a docstring: {', '.join(silent)}")


def _named(name: str) -> Any:
    """The object of a dotted name; its module, where a function of it has the same name."""
    module, _, word = name.rpartition(".")
    return getattr(importlib.import_module(module), word)


def _silent(names: list[str]) -> list[str]:
    """Those of these names, and of their classes' public members, that have no docstring."""
    loader = griffe.GriffeLoader(search_paths=[Path(__file__).parents[2]])
    for package in PACKAGES:
        loader.load(package)
    loader.resolve_aliases()
    silent = []
    for name in names:
        it = loader.modules_collection[name]
        it = it.final_target if it.is_alias else it
        members = it.members.values() if it.is_class else ()
        methods = [m for m in members if m.is_function and not m.name.startswith("_")]
        silent += [x.path for x in (it, *methods) if not x.has_docstring]
    return silent
