"""Fields of a config that take one of several classes; its ``kind`` says which."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, GetCoreSchemaHandler, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import CoreSchema

from zoo_gen.plugins import Kinds


@dataclass(frozen=True, eq=False)
class OneOf:
    """Annotates such a field. Plug-ins are asked for when the first config is checked.

    Attributes:
        kinds: the classes.
        more: another class that stands beside them.
    """

    kinds: Kinds
    more: type[Any] | None = None

    @cached_property
    def union(self) -> Any:
        """All classes, those of plug-ins too; each refuses unknown keys."""
        others = () if self.more is None else (self.more,)
        for plugin in [p for p in self.kinds.plugins if not p.problem]:
            if plugin.kind in {cls.kind for cls in others}:
                self.kinds.refuse(plugin.kind, "the name is taken by dwszoo itself")
                continue
            try:
                refuse_unknown_keys(self.kinds[plugin.kind])
                TypeAdapter(self.kinds[plugin.kind])
            except (PydanticUserError, TypeError, NameError) as error:
                reason = str(error).split(". ")[0].splitlines()[0]
                self.kinds.refuse(plugin.kind, f"its fields cannot be read from YAML ({reason})")
        return typing.Union[(*self.kinds.values(), *others)]

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As pydantic asks for it: the class that the field ``kind`` says."""
        return handler.generate_schema(Annotated[self.union, Discriminator("kind")])


def refuse_unknown_keys(cls: type[Any]) -> None:
    """Make pydantic refuse them, in a dataclass and all that its fields may hold.

    The packages below do not import pydantic, so it is done here.
    """
    if "__pydantic_config__" in vars(cls):
        return
    cls.__pydantic_config__ = ConfigDict(extra="forbid")
    for hint in hints(cls).values():
        for part in _parts(hint):
            if isinstance(part, type) and is_dataclass(part):
                refuse_unknown_keys(part)


def hints(cls: Any) -> dict[str, Any]:
    """Types of the fields of a dataclass; all classes where one of several is meant."""
    return {
        name: _resolved(hint)
        for name, hint in typing.get_type_hints(cls, include_extras=True).items()
    }


def _resolved(hint: Any) -> Any:
    if typing.get_origin(hint) is Annotated:
        inner, *extras = typing.get_args(hint)
        kind = next((extra for extra in extras if isinstance(extra, OneOf)), None)
        return _resolved(inner) if kind is None else kind.union
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_resolved, typing.get_args(hint)))]  # noqa: UP007
    return hint


def _parts(hint: Any) -> typing.Iterator[Any]:
    """A type and all that it is made of."""
    yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)
