"""Inside a package: rooms import lower rooms only, and there is no import circle between files."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from test_floors import imports

ROOT = Path(__file__).parents[2]
ROOMS = {"zoo_gen": ("sources", "recipe", "zoo", "make", "health", "exchange")}
"""Package -> its rooms, the lowest first. Files beside the rooms serve all of them."""


def graph(package: str) -> dict[str, set[str]]:
    """Module of a package -> the modules of the package that it imports, anywhere in its code."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted((ROOT / package).rglob("*.py"))
    }
    found: dict[str, set[str]] = {module: set() for module in files}
    for module, file in files.items():
        for _, name in imports(file.read_text()):
            while name and name not in files:
                name = name.rpartition(".")[0]
            if name not in ("", module):
                found[module].add(name)
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_lower_rooms_only(package: str) -> None:
    height = {room: i for i, room in enumerate(ROOMS[package])}
    upward = []
    for module, imported in graph(package).items():
        own = height.get(module.split(".")[1] if "." in module else "")
        for other in imported:
            if own is None or "." not in other:
                continue
            if height.get(other.split(".")[1], -1) > own:
                upward.append(f"{module} imports {other}")
    assert upward == []


@pytest.mark.parametrize("package", ROOMS)
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    try:
        TopologicalSorter(graph(package)).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")
