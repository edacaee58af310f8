"""Notebooks run from top to bottom, only use what the packages define, and keep clean outputs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "notebooks"))
from execute import ENVIRONMENT, executed, files  # noqa: E402

MOST_BYTES = 400_000
# a path from the root of a disk (no link, fraction or tag of HTML), a package's file, an address
PLACE = re.compile(r"(?<![\w.:/<])/\w[\w.-]*/|site-packages| at 0x")

each_notebook = pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)


def cells(file: Path) -> list[nbformat.NotebookNode]:
    """The code cells."""
    return [c for c in nbformat.read(file, as_version=4).cells if c.cell_type == "code"]


def test_they_are_numbered_from_one() -> None:
    assert [file.name[:2] for file in files()] == [f"{i + 1:02}" for i in range(len(files()))]
    assert files()


@each_notebook
def test_it_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    again = [c for c in executed(file).cells if c.cell_type == "code"]
    kinds = [[told(output) for output in cell.outputs] for cell in again]
    assert kinds == [[told(output) for output in cell.outputs] for cell in cells(file)]


def told(output: nbformat.NotebookNode) -> list[str]:
    """What an output is: text of a stream, or a result with its media types."""
    return [output.output_type, *sorted(output.get("data", {}))]


@each_notebook
def test_it_defines_nothing(file: Path) -> None:
    defined = [
        node.name
        for cell in cells(file)
        for node in ast.walk(ast.parse(without_magics(cell.source)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defined == []


@each_notebook
def test_it_is_kept_with_its_outputs(file: Path) -> None:
    assert [c.execution_count for c in cells(file)] == list(range(1, len(cells(file)) + 1))
    assert any("image/png" in o.get("data", {}) for c in cells(file) for o in c.outputs)


@each_notebook
def test_its_outputs_hold_nothing_of_this_machine(file: Path) -> None:
    outputs = [output for cell in cells(file) for output in cell.outputs]
    texts = [str({k: v for k, v in o.get("data", o).items() if k != "image/png"}) for o in outputs]
    assert [text for text in texts if PLACE.search(text)] == []
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []  # warnings
    assert [c.metadata for c in cells(file) if "execution" in c.metadata] == []  # times


@each_notebook
def test_it_is_small(file: Path) -> None:
    assert file.stat().st_size <= MOST_BYTES


@each_notebook
def test_its_links_lead_somewhere(file: Path) -> None:
    texts = [c.source for c in nbformat.read(file, as_version=4).cells if c.cell_type == "markdown"]
    links = [link for text in texts for link in links_of(text)]
    assert [link for link in links if not (file.parent / link).exists()] == []


def links_of(text: str) -> list[str]:
    """Targets of Markdown links that are files."""
    found = [part.split(")")[0] for part in text.split("](")[1:]]
    return [link for link in found if "://" not in link]


def without_magics(source: str) -> str:
    """A cell without IPython's own lines."""
    return "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))
