"""From a folder of networks with a CSV of labels to predictions, where the labels are text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.commands.cli import status
from pipeline.lookup import find_zoo
from zoo_gen import SourceError, Split, Store, ZooError
from zoo_gen.exchange.imports import Import, open_source

CONFIG = """
name: pets
description: text as classes
source: {kind: zoo, path: nets}
models:
  dwsnet:
    network: {kind: dwsnet, hidden_channels: 4, layers: 1}
    training: {epochs: 10, batch_size: 16, learning_rate: 0.02}
seeds: [0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty actor-critics, named by numbers with leading zeros, of two kinds of pets."""
    place = tmp_path_factory.mktemp("text")
    (place / "nets").mkdir()
    torch.manual_seed(0)
    rows = ["file,label"]
    for i in range(40):
        net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        with torch.no_grad():
            net[0].bias.add_(3.0 * (i % 2))
        other = nn.Linear(2, 1)
        content = {"actor": net.state_dict(), "critic": other.state_dict()}
        torch.save(content, place / f"nets/{i:03}.pth")
        rows.append(f"{i:03},{('cat', 'dog')[i % 2]}")
    (place / "labels.csv").write_text("\n".join(rows) + "\n")
    (place / "pets.yaml").write_text(CONFIG)
    root = str(place / "root")
    labels = ["--labels", str(place / "labels.csv"), "--root", root, "--part", "actor"]
    assert status(["import", "folder", str(place / "nets"), *labels]) == 0
    run = ["run", str(place / "pets.yaml"), "--root", root, "--engine", "local"]
    assert status(run) == 0
    return place


def test_text_is_a_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(folder / "root")
    assert status(["predict", "pets-dwsnet", "nets", "--root", root]) == 0
    assert "test         accuracy 100.0%" in capsys.readouterr().out


def test_a_part_of_a_file_is_predicted_by_the_name_of_its_class(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "pets-dwsnet", str(folder / "nets/001.pth"), "--root", str(folder / "root")]
    assert status([*words, "--part", "actor"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("class dog")


def test_options_of_a_file_are_refused_for_a_zoo(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "pets-dwsnet", "nets", "--root", str(folder / "root")]
    assert status([*words, "--part", "actor"]) == 2
    assert "nets is a zoo" in capsys.readouterr().err


def test_an_import_that_fails_leaves_no_zoo(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo_gen.exchange.imports.files import Reading

    source = open_source("folder", folder / "nets", reading=Reading(part="actor"))

    def broken(rows: object) -> object:
        raise SourceError("001.pth: it cannot be read")

    monkeypatch.setattr(source, "read", broken)
    store = Store(str(tmp_path))
    with pytest.raises(SourceError):
        Import(store, "nets", source, Split(8, 1, 1)).run()
    assert store.names("zoos") == []


def test_a_zoo_of_exactly_a_name_is_found(tmp_path: Path, folder: Path) -> None:
    for name in ("nets-12345678", "nets-big-12345678", "nets-2-12345678"):
        (tmp_path / "zoos" / name).mkdir(parents=True)
        description = next((folder / "root/zoos").iterdir()) / "zoo.json"
        (tmp_path / "zoos" / name / "zoo.json").write_text(description.read_text())
    store = Store(str(tmp_path))
    assert find_zoo(store, "nets").folder == "zoos/nets-12345678"
    assert find_zoo(store, "nets-b").folder == "zoos/nets-big-12345678"
    with pytest.raises(ZooError, match="several zoos"):
        find_zoo(store, "net")
