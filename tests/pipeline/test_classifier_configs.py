"""Configs of classifier zoos: what is wrong is told by its key; commands do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.config.config import load
from pipeline.environment import Environment
from pipeline.experiment import Experiment
from zoo_gen import Classifier, ConfigError, Draw, Store, open_zoo

TINY = """
name: tiny-classifiers
description: a few classifiers of a few images
source: {kind: numpy, path: "", labels: ""}
zoo:
  fit:
    kind: classifier
    network: {kind: mlp, hidden: [4]}
    runs: 6
    snapshots: [0, 1]
    batch_size: 4
    evaluation_images: 10
    learning_rate: {log_uniform: [1e-3, 1e-2]}
    activation: {choice: [relu, tanh]}
    steps: 3
  split: {train: 2, val: 1, test: 1}
  rows_per_shard: 4
"""
RATE = "zoo.fit.learning_rate"
WRONG = {
    f"{RATE}=-1": rf"^{RATE}: got -1.0, expected numbers above 0",
    f"{RATE}=fast": rf'^{RATE}: got "fast", expected number or a draw such as {{log_uniform',
    f"{RATE}=[1, 2]": rf"^{RATE}: got \[1, 2\], expected number or a draw such as",
    f"{RATE}={{log_unifrm: [1, 2]}}": rf"^{RATE}.log_unifrm: unknown key .did you mean log_unif",
    f"{RATE}={{uniform: [2, 1]}}": rf"^{RATE}.uniform: got \[2.0, 1.0\], expected two numbers, the",
    f"{RATE}={{uniform: [1]}}": rf"^{RATE}.uniform: got \[1\], expected \[least, most\], two",
    f"{RATE}={{uniform: [a, 1]}}": rf'^{RATE}.uniform: got \["a", 1\], expected \[least, most\]',
    f"{RATE}={{uniform: 3}}": rf"^{RATE}.uniform: got 3, expected \[least, most\], two numbers",
    f"{RATE}={{log_uniform: [0, 1]}}": rf"^{RATE}.log_uniform: got \[0.0, 1.0\], expected numbers",
    f"{RATE}={{}}": rf"^{RATE}.uniform, log_uniform or choice: got none, expected exactly one",
    f"{RATE}={{choice: [a]}}": rf"^{RATE}: got 'a', expected numbers above 0",
    f"{RATE}={{choice: [true]}}": rf"^{RATE}.choice: got \[true\], expected a list of numbers or",
    "zoo.fit.steps=2.5": r"^zoo.fit.steps: got 2.5, expected whole number or a draw such as",
    "zoo.fit.activation=3": r"^zoo.fit.activation: got 3, expected word or a draw such as",
    "zoo.fit.activation=gelu": r"^zoo.fit.activation: got 'gelu', expected relu or tanh",
    "zoo.fit.kind=clasifier": r"^zoo.fit.kind: got clasifier .did you mean classifier.\); allowed:",
    "zoo.fit.network.kind=mpl": r"^zoo.fit.network.kind: got mpl .did you mean mlp.\); allowed: ml",
    "zoo.fit.network.hiden=[3]": r"^zoo.fit.network.hiden: unknown key .did you mean hidden",
    "zoo.fit.network.hidden=[]": r"^zoo.fit.network.hidden: got \[\], expected one or more",
    "zoo.fit.run=3": r"^zoo.fit.run: unknown key .did you mean runs",
    "zoo.fit.classes=pear": r"^zoo.fit.classes: got 'pear', expected 'pairs'",
    "zoo.views=5": r"^zoo.views: got 5, but the rows of a run of classifiers are its 3 snapshot",
    "zoo.rows_per_shard=100": r"^zoo.rows_per_shard: got 100, expected a multiple of the 3",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of classifiers, with its images beside it."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 20)):
        folder = tmp_path / "images" / part
        for label in ("cat", "dog"):
            (folder / label).mkdir(parents=True)
            for i in range(count // 2):
                _write_png(folder / label / f"{i}.png", rng)
    raw = yaml.safe_load(TINY)
    raw["source"] = {"kind": "folder", "path": str(tmp_path / "images")}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def _write_png(path: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    Image.fromarray(rng.integers(0, 256, (5, 6), np.uint8)).save(path)


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_value_is_told_by_its_key(change: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[change]) as caught:
        load("mlp-mnist", (change,))
    assert ";" not in re.sub(r"\); allowed", "", str(caught.value)), caught.value


def test_what_is_drawn_is_read() -> None:
    config, _ = load("mlp-mnist", ("zoo.fit.dropout={uniform: [0, 0.5]}",))
    assert isinstance(config.zoo.fit, Classifier)
    assert config.zoo.fit.dropout == Draw(uniform=(0, 0.5))
    assert config.zoo.fit.optimizer == Draw(choice=("adam", "sgd", "rmsprop"))


def test_the_digits_zoo_keeps_its_hash_without_a_kind_and_with_other_seeds(tmp_path: Path) -> None:
    for changes in ((), ("zoo.fit.kind=siren",), ("seeds=[5, 6]",)):  # of models, never of a split
        config, text = load("digits", changes)
        assert (
            Experiment(config, text, Environment(Store(str(tmp_path)))).recipe.hash8 == "5a669238"
        )


def test_generate_limits_runs_and_not_images(dwszoo, config: Path, tmp_path: Path) -> None:
    code, out, err = dwszoo(
        "generate", config, "--root", tmp_path, "--engine", "local", "--limit", 4
    )
    assert code == 0, err
    zoo = open_zoo(out.strip())
    assert (len(zoo), zoo.signals) == (8, 4)
    again = dwszoo("generate", config, "--root", tmp_path, "--engine", "local", "--limit", 4)
    assert "8 networks exist" in again[2]


def test_run_makes_the_zoo_and_inspect_tells_of_it(dwszoo, config: Path, tmp_path: Path) -> None:
    code, out, err = dwszoo("run", config, "--root", tmp_path, "--engine", "local")
    assert code == 0, err
    assert "has no models" in err
    code, told, err = dwszoo("inspect", out.strip())
    assert code == 0, err
    assert re.search(r"runs\s+6, up to 2 snapshots each", told)


def test_more_runs_than_there_are_is_told(dwszoo, config: Path, tmp_path: Path) -> None:
    code, _, err = dwszoo("generate", config, "--root", tmp_path, "--limit", 7)
    assert code == 2
    assert "limit: got 7, expected 1 to 6 (zoo.fit.runs" in err


def test_a_source_without_test_part_is_told(dwszoo, config: Path, tmp_path: Path) -> None:
    images = tmp_path / "images" / "train"
    code, _, err = dwszoo("generate", config, "--root", tmp_path, "--set", f"source.path={images}")
    assert code == 2
    assert "the source has no train and no test part of its own" in err


def test_classes_of_classifiers_are_refused_before_any_work(
    dwszoo, config: Path, tmp_path: Path
) -> None:
    raw = yaml.safe_load(config.read_text())
    raw["models"] = {"mlp": {"network": {"kind": "mlp"}, "training": {"epochs": 1}}}
    config.write_text(yaml.safe_dump(raw))
    code, _, err = dwszoo("run", config, "--root", tmp_path)
    assert code == 2
    assert "classify (the default) learns the column label, but the zoo tiny-" in err
    assert "of its own it has train_accuracy, train_loss, test_accuracy, test_loss" in err
    assert not (tmp_path / "zoos").exists()
