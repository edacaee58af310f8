"""Every message of an error that the code can raise, as far as its text stands in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo_gen import errors

ROOT = Path(__file__).parents[2]
GAP = "…"  # what differs from one time to the next
OURS = {name for name in vars(errors) if name.endswith(("Error", "CorruptShard"))}
RAISED = OURS | {"IndexError", "UsageError", "Detached", "BadFile", "CannotServe", "Finding"}
WHERE = {"dws": {"ValueError"}, "zoo_gen": RAISED, "training": RAISED, "pipeline": RAISED}
WORDED = {"pipeline/config/messages.py": "explain"}  # a function that words errors for others


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        place: file and line.
        text: what it says, with `GAP` for what is put in; None where none of it is written there.
    """

    place: str
    text: str | None

    def is_told_by(self, entry: str) -> bool:
        """Whether an entry of the page, with gaps of its own, covers the whole message."""
        text, parts = self.text or "", entry.split(GAP)
        if len(parts) == 1:
            return text == entry
        if not text.startswith(parts[0]):
            return False
        at = len(parts[0])
        for part in parts[1:-1]:  # each where it comes first: no other place could do better
            at = text.find(part, at) + len(part)
            if at < len(part):
                return False
        return len(text) - at >= len(parts[-1]) and text.endswith(parts[-1])


def messages() -> Iterator[Message]:
    """All of them, file by file."""
    for package, names in WHERE.items():
        for file in sorted((ROOT / package).rglob("*.py")):
            place = file.relative_to(ROOT).as_posix()
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and _name(node.func) in names and node.args:
                    yield Message(f"{place}:{node.lineno}", _text(node.args[0]))
                if isinstance(node, ast.Raise) and (text := _of_a_variable(node)):
                    yield Message(f"{place}:{node.lineno}", text)
                if isinstance(node, ast.FunctionDef) and node.name == WORDED.get(place):
                    for end in (n for n in ast.walk(node) if isinstance(n, ast.Return)):
                        if end.value is not None and _text(end.value):
                            yield Message(f"{place}:{end.lineno}", _text(end.value))


def entries(page: str) -> list[str]:
    """The messages that a page explains: the code at the beginning of each item of a list."""
    return [
        e.strip() for e in re.findall(r"^- `` ?(.+?) ?``|^- `(.+?)`", page, re.M) for e in e if e
    ]


def _of_a_variable(node: ast.Raise) -> str | None:
    """The text of ``raise kind(f"...")``, where a variable says which error it is."""
    named = isinstance(node.exc, ast.Call) and node.exc.args and _name(node.exc.func).islower()
    return _text(node.exc.args[0]) if named else None


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(value: ast.expr) -> str | None:
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.BoolOp):
        return _text(value.values[-1])
    if isinstance(value, ast.JoinedStr):
        gaps = (GAP if isinstance(v, ast.FormattedValue) else _text(v) for v in value.values)
        return "".join(filter(None, gaps))
    return None
