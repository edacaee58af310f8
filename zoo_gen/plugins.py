"""The classes that ``kind`` in a config may name: our own, and those of other packages.

A package offers a class by an entry point whose name is the kind::

    [project.entry-points."dwszoo.sources"]
    polynomials = "my_package.polynomials:Polynomials"

Entry points are read, and their modules imported, when a kind is first asked for. One that cannot
be used is left out, with a warning; everything else works as it does without it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from zoo_gen.log import LOG


@dataclass(frozen=True)
class Plugin:
    """A class that another package offers.

    Attributes:
        kind: its name in a config, that of its entry point.
        group: of the entry point.
        target: ``module:Class``.
        package: name and version.
        problem: why it cannot be used; empty where it can.
    """

    kind: str
    group: str
    target: str
    package: str
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.group}: {self.kind} = {self.target}, of the package {self.package}"


class Kinds(Mapping[str, type[Any]]):
    """Kind -> class.

    Args:
        group: of the entry points.
        base: what every class extends.
        own: our own classes, whose kinds nobody can take.
    """

    def __init__(self, group: str, base: type[Any], *own: type[Any]) -> None:
        self.group, self.base = group, base
        self.own = {cls.kind: cls for cls in own}

    def __getitem__(self, kind: str) -> type[Any]:
        return self.own[kind] if kind in self.own else self._found[0][kind]

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *self._found[0]])

    def __len__(self) -> int:
        return len(self.own) + len(self._found[0])

    @property
    def plugins(self) -> list[Plugin]:
        """All that other packages offer, those that cannot be used too."""
        return self._found[1]

    def problem(self, kind: str) -> str:
        """What is wrong with the plug-in of this kind; empty where there is none or it works."""
        broken = (p for p in self.plugins if p.kind == kind and p.problem and kind not in self)
        return next((f"the package {p.package} has {kind}, but {p.problem}" for p in broken), "")

    def refuse(self, kind: str, problem: str) -> None:
        """Leave a plug-in out, with a warning."""
        classes, plugins = self._found
        del classes[kind]
        i = next(i for i, p in enumerate(plugins) if p.kind == kind and not p.problem)
        plugins[i] = _warned(replace(plugins[i], problem=problem))

    @cached_property
    def _found(self) -> tuple[dict[str, type[Any]], list[Plugin]]:
        classes: dict[str, type[Any]] = {}
        plugins: list[Plugin] = []
        # in the order of their packages, so that of two with one name always the same is taken
        for point in sorted(entry_points(group=self.group), key=lambda p: (_package(p), p.name)):
            plugin = Plugin(point.name, self.group, point.value, _package(point))
            taken = next((p.package for p in plugins if p.kind == point.name and not p.problem), "")
            if point.name in self.own:
                taken = "dwszoo itself"
            if taken:
                problem = f"the name is taken by {taken}"
            else:
                cls, problem = self._loaded(point)
                if not problem:
                    classes[point.name] = cls
            plugins.append(_warned(replace(plugin, problem=problem)) if problem else plugin)
        return classes, plugins

    def _loaded(self, point: EntryPoint) -> tuple[Any, str]:
        """What an entry point names, and why it cannot be used."""
        try:
            cls = point.load()
        except (Exception, SystemExit) as error:  # somebody else's module: whatever it raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return None, f"it cannot be imported ({reason})"
        return cls, _contract_problem(cls, point.name, self.base)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"


def _warned(plugin: Plugin) -> Plugin:
    LOG.warning("plug-in left out: %s: %s", plugin, plugin.problem)
    return plugin


def _contract_problem(cls: Any, kind: str, base: type[Any]) -> str:
    """What a class lacks of the contract; empty if nothing."""
    if not isinstance(cls, type) or not issubclass(cls, base):
        return f"it is no subclass of {base.__module__}.{base.__name__}"
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"the class lacks {', '.join(lacking)}"
    params = vars(cls).get("__dataclass_params__")
    if params is None or not params.frozen:
        return "the class is no frozen dataclass: write @dataclass(frozen=True) above it"
    try:
        hint = typing.get_type_hints(cls).get("kind")
    except Exception as error:  # a name that is not there, or whatever an annotation raises
        return f"the annotations of its fields cannot be read ({error})"
    if hint != Literal[kind] or getattr(cls, "kind", None) != kind:
        return f'the class lacks the field kind: Literal["{kind}"] = "{kind}"'
    return ""
