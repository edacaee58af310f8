"""Notebooks run from top to bottom, and only use what the packages define."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_PER_CELL = 300

each_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@each_notebook
def test_it_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # a kernel in the home is not ours
    NotebookClient(
        nbformat.read(file, as_version=4),
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()


@each_notebook
def test_it_defines_nothing(file: Path) -> None:
    cells = [c.source for c in nbformat.read(file, as_version=4).cells if c.cell_type == "code"]
    defined = [
        node.name
        for source in cells
        for node in ast.walk(ast.parse(without_magics(source)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defined == []


@each_notebook
def test_it_is_kept_with_its_outputs(file: Path) -> None:
    cells = [c for c in nbformat.read(file, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))


def without_magics(source: str) -> str:
    """A cell without IPython's own lines."""
    return "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))
