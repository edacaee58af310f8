"""Packages that extend dwszoo, as an installer leaves them behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def install(site: Path, project: dict[str, Any], files: dict[str, str]) -> None:
    """Put a package into a folder for ``sys.path``: its files, and its ``dist-info``.

    Args:
        site: the folder.
        project: the table ``[project]`` of its pyproject.toml.
        files: name -> text.
    """
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    told = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(told)
    lines = []
    for group, points in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for name, text in files.items():
        (site / name).write_text(text)


def install_text(site: Path, pyproject: str, files: dict[str, str]) -> None:
    """The same of the text of a pyproject.toml."""
    install(site, tomllib.loads(pyproject)["project"], files)


def dwszoo(site: Path, *commands: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run commands in one process that sees the folder's packages beside all others.

    Args:
        site: the folder.
        commands: words of each; the process ends with the first that fails.
    """
    words = [list(map(str, command)) for command in commands]
    program = (
        "from pipeline.commands.cli import status; "
        f"exit(next(filter(None, map(status, {words})), 0))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=900,
    )
