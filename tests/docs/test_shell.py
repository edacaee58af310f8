"""What the README and the quickstart tell to type runs, in the order in which they tell it."""

from __future__ import annotations

import gzip
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.commands.cli import cli, status
from pipeline.config.config import load
from tests.zoo_gen.layouts import mnist as published

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/quickstart.md")
PROGRAMS = ("dwszoo", "make", "source", "mlflow", "ray", "python", "pip", "export", "curl")
NOT_RUN = {
    "make test": "runs these tests",
    "source .venv/bin/activate": "the tests run in the environment",
    "dwszoo tune": "thirty trials on Ray; tests/pipeline/commands/test_tune.py runs small ones",
    "dwszoo submit": "needs a cluster, as tests/pipeline/cluster does",
}
"""Beginning of a line -> why it is not run."""

SMALL = {
    "digits": {"limit": 100, "zoo.views": 1, "zoo.fit.steps": 3},
    "mnist": {"limit": 50, "zoo.fit.steps": 2},
    "mine.yaml": {"zoo.fit.steps": 2},
    "accuracy.yaml": {},
}
"""Config -> what makes it small; so do one tiny model and one seed."""

NAMES = {"digits": "dwsnet-probes"}  # of the model that later lines speak of; else dwsnet
TINY = "{network: {kind: dwsnet, hidden_channels: 4, layers: 1}, training: {epochs: 1}}"


def lines(page: str) -> list[str]:
    """Every line of a page's indented blocks that begins with a program."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    typed = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [line for line in typed if line.split()[0] in PROGRAMS]


def reason(line: str) -> str | None:
    """Why a line is not run."""
    return next((why for begin, why in NOT_RUN.items() if line.startswith(begin)), None)


def small(line: str, root: Path, data: Path) -> list[str]:
    """The words of a `dwszoo` line, with options that make it quick."""
    words = [word.replace("DIR", str(data)) for word in shlex.split(line, comments=True)[1:]]
    known = {option for param in cli.commands[words[0]].params for option in param.opts}
    if "--root" in known:
        words += ["--root", str(root)]
    if "--set" in known:
        config = words[1]
        changes = {**SMALL[config], "seeds": "[0]"}
        changes["models"] = f"{{{NAMES.get(config, 'dwsnet')}: {TINY}}}"
        words += ["--engine", "local"]
        for key, value in changes.items():
            words += ["--limit", str(value)] if key == "limit" else ["--set", f"{key}={value}"]
    return words


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four IDX files: ten classes of noise."""
    folder = tmp_path_factory.mktemp("idx")
    draw = np.random.default_rng(0)
    for stem, count in (("train", 80), ("t10k", 20)):
        sizes = np.array([count, 28, 28], ">u4").tobytes()
        images = draw.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        labels = (np.arange(count) % 2).astype(np.uint8).tobytes()
        for kind, head in (("images-idx3", b"\0\0\x08\x03"), ("labels-idx1", b"\0\0\x08\x01")):
            body = sizes + images if kind.startswith("images") else sizes[:4] + labels
            (folder / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + body))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root that both pages share."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person would type: pictures, networks, and what is known of them."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for i in range(20):
        picture = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (20, 24, 3), np.uint8)).save(picture)
    rows = ["file,label,test_accuracy"]
    for i in range(30):
        state = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).state_dict()
        for place in ("my-networks", "my-models"):
            file = tmp_path / place / "a" / f"{i:04}.pth"
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, file)
        rows.append(f"a/{i:04}.pth,{i % 2},{0.5 + i / 100}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    own = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    torch.save(own.state_dict(), tmp_path / "my-network.pth")
    published(tmp_path)
    return tmp_path


def written(page: str, folder: Path) -> list[str]:
    """Write the configs that a page shows, and give their names."""
    text = (ROOT / page).read_text()
    files = re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for name, config in files:
        (folder / name).write_text(config)
    return [name for name, _ in files]


@pytest.mark.parametrize("page", PAGES)
def test_every_line_runs(
    page: str, folder: Path, root: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in written(page, folder):
        load(name)  # as it stands, before it is made small
    for line in lines(page):
        if reason(line):
            continue
        if line.startswith("make demo"):
            line = demo()
        code = status(small(line, root, data))
        assert code == 0, f"{line}\n{capfd.readouterr().err}"


def demo() -> str:
    """The command that `make demo` ends with."""
    recipe = re.search(
        r"^demo:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert recipe is not None
    return recipe[1]


def test_what_is_not_run_stands_there() -> None:
    typed = [line for page in PAGES for line in lines(page)]
    assert len(typed) > 15
    unused = [begin for begin in NOT_RUN if not any(line.startswith(begin) for line in typed)]
    assert unused == [], "take these out of NOT_RUN"


def test_reasons_name_tests_that_are_there() -> None:
    named = re.findall(r"tests/\S+\.py", " ".join(NOT_RUN.values()))
    assert named
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_only_known_programs_are_called() -> None:
    called = {line.split()[0] for page in PAGES for line in lines(page) if not reason(line)}
    assert called <= {"dwszoo", "make"}
