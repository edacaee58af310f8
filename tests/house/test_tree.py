"""What a file of this house looks like."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("dws", "zoo_gen", "training", "pipeline")
FOLDERS = (*PACKAGES, "notebooks", "benchmarks", "tests")
NAMES_OF_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc"}


def python_files(*folders: str) -> list[Path]:
    """Every Python file of these folders, relative to the root."""
    files = [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return [file.relative_to(ROOT) for file in files]


def parsed(file: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse((ROOT / file).read_text())


def test_every_file_is_named_for_what_it_holds() -> None:
    nameless = [
        file.as_posix()
        for file in python_files(*FOLDERS)
        if NAMES_OF_NOTHING & {part.strip("_") for part in file.with_suffix("").parts}
    ]
    assert nameless == []


def test_only_the_command_line_prints() -> None:
    prints = [
        f"{file}:{node.lineno}"
        for file in python_files(*(p for p in PACKAGES if p != "pipeline"))
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert prints == []


def test_what_is_public_says_what_it_is() -> None:
    silent = [
        f"{file}: {node.name}"
        for file in python_files(*PACKAGES)
        for node in parsed(file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    silent += [f.as_posix() for f in python_files(*PACKAGES) if not ast.get_docstring(parsed(f))]
    assert silent == []
