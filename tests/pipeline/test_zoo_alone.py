"""A config without models makes its zoo; what needs models or classes says so in time."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

SINES = """
name: sines
description: a few sines
source: {kind: sine, points: 20, count: 12}
zoo:
  fit: {widths: [1, 3, 1], steps: 2}
  split: {train: 8, val: 2, test: 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config's file."""
    file = tmp_path / "sines.yaml"
    file.write_text(SINES)
    return file


def test_run_without_models_generates_and_says_so(dwszoo, config: Path, tmp_path: Path) -> None:
    code, out, err = dwszoo("run", config, "--root", tmp_path, "--engine", "local")
    assert code == 0, err
    assert "sines has no models" in err
    assert Path(out.strip(), "shards/part-00000.parquet").is_file()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("command", ["train", "report"])
def test_what_needs_models_says_that_there_are_none(
    dwszoo, config: Path, tmp_path: Path, command: str
) -> None:
    code, _, err = dwszoo(command, config, "--root", tmp_path)
    assert code == 2
    assert "dwszoo: models: sines has none" in err
    assert "`dwszoo generate`" in err


@pytest.mark.parametrize("command", ["run", "train"])
def test_models_of_signals_without_classes_are_refused_before_any_work(
    dwszoo, config: Path, tmp_path: Path, command: str
) -> None:
    raw = yaml.safe_load(SINES)
    raw["models"] = {"mlp": {"network": {"kind": "mlp"}, "training": {"epochs": 1}}}
    config.write_text(yaml.safe_dump(raw))
    code, _, err = dwszoo(command, config, "--root", tmp_path)
    assert code == 2
    assert "task: classify (the default) learns the column label, but the zoo sines" in err
    assert "of its own it has amplitude, frequency. Name another task" in err
    names = "cifar10, digits, fashion-mnist, mnist-edit, mnist-retrieve, mnist, shapes"
    assert f"whose zoos have it: {names}" in err
    assert not (tmp_path / "zoos").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("models.dwsnet.network.project.n9=2", "models.dwsnet: network: axis 'n9' is not among"),
        ("models.mlp.training.prepare=canonical-relu", "models.mlp: prepare: got 'canonical-relu'"),
        ("models.mlp.training.augment.rescaling=1", "models.mlp: augment.rescaling: got 1.0, but"),
    ],
)
def test_models_that_the_networks_do_not_allow_are_refused_before_any_work(
    dwszoo, tiny: Path, tmp_path: Path, setting: str, message: str
) -> None:
    code, _, err = dwszoo("run", tiny, "--root", tmp_path, "--set", setting)
    assert code == 2
    assert message in err
    assert not (tmp_path / "zoos").exists()
