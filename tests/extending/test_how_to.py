"""The packages that docs/extend-*.md build run as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.extending.packages import ROOT, dwszoo, install_text

PAGES = ("extend-source", "extend-task", "extend-model")
MOST_LINES = 40
FAST = ("--limit", 40, "--set", "zoo.fit.steps=3")
ENGINES = {  # the model is trained in a worker of Ray
    "extend-source": ("--engine", "local"),
    "extend-task": ("--engine", "local"),
    "extend-model": ("--workers", 1),
}
MODELS = {
    "extend-source": ("dwsnet",),
    "extend-task": ("dwsnet", "statistics"),
    "extend-model": ("neuron-set", "statistics"),
}


def blocks(page: str) -> dict[str, str]:
    """Name -> text of the files that a page shows."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    found = re.findall(r"^```(?:toml|python|yaml)\n# (\S+)\n(.*?)^```$", text, re.M | re.S)
    assert len(found) == 3
    return dict(found)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What ``dwszoo run`` prints of the three configs, all packages installed; and the root."""
    site, root = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("root")
    commands = []
    for page in PAGES:
        files = blocks(page)
        install_text(site, files.pop("pyproject.toml"), files)
        (config,) = (site / name for name in files if name.endswith(".yaml"))
        changes = [w for m in MODELS[page] for w in ("--set", f"models.{m}.training.epochs=1")]
        commands.append(["run", config, "--root", root, *FAST, *ENGINES[page], *changes])
    done = dwszoo(site, *commands)
    assert done.returncode == 0, done.stderr
    return done.stdout, root


@pytest.mark.parametrize("page", PAGES)
def test_it_takes_under_forty_lines(page: str) -> None:
    files = blocks(page)
    (program,) = (text for name, text in files.items() if name.endswith(".py"))
    points = re.findall(r"^.*dwszoo\..*\n.*$", files["pyproject.toml"], re.M)
    lines = [line for text in (program, *points) for line in text.splitlines() if line.strip()]
    assert len(lines) < MOST_LINES


def test_what_the_pages_build_runs(ran: tuple[str, Path]) -> None:
    rows = re.findall(r"^│ (\S+)", ran[0], re.M)
    assert [row for row in rows if row != "model"] == [
        model for page in PAGES for model in MODELS[page]
    ]


@pytest.mark.parametrize(
    ("folder", "part", "told"),
    [
        (
            "zoos/chirps-*/zoo.json",
            ("recipe", "source"),
            {"kind": "chirps", "highest": 3.0, "points": 256, "count": 2000, "seed": 0},
        ),
        (
            "models/halves-dwsnet-*/result.json",
            ("job", "task"),
            {"kind": "above-median", "columns": ["amplitude", "frequency"]},
        ),
        (
            "models/neurons-neuron-set-*/result.json",
            ("job", "network"),
            {"kind": "neuron-set", "width": 128},
        ),
    ],
)
def test_its_name_and_parameters_are_what_the_hash_is_taken_of(
    ran: tuple[str, Path], folder: str, part: tuple[str, str], told: dict[str, Any]
) -> None:
    (file,) = ran[1].glob(folder)
    assert json.loads(file.read_text())[part[0]][part[1]] == told
