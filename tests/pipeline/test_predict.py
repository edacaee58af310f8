"""`dwszoo predict`, and the registry that it looks into, through the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from training.model_file import decode
from zoo_gen import Store, ZooReader

Command = Callable[..., tuple[int, str, str]]
NETWORK = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))


@pytest.fixture(scope="module")
def zoo(reported: Path) -> ZooReader:
    (name,) = Store(str(reported)).names("zoos")
    return ZooReader(Store(str(reported)), f"zoos/{name}")


@pytest.fixture(scope="module")
def champion(reported: Path):
    """Name of the registered model, and its version in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    (model,) = client.search_registered_models()
    return model.name, client.get_model_version_by_alias(model.name, "champion")


def file_of(reported: Path, version) -> Path:
    """The champion's file below the root."""
    config, model = version.tags["config"], version.tags["model"]
    (folder,) = (reported / "models").glob(f"{config}-{model}-seed{version.tags['seed']}-*")
    return folder / "model.safetensors"


def test_the_champion_is_best_on_validation_and_says_what_it_is(reported: Path, champion) -> None:
    name, version = champion
    found = {}
    for file in (reported / "models").glob("*/result.json"):
        result = json.loads(file.read_text())
        score = result["history"][result["best_epoch"] - 1]["val_accuracy"]
        model, seed = re.fullmatch(r"tiny-(.+)-seed(\d)-\w+", file.parent.name).groups()
        found.setdefault(model, {})[seed] = score, result["test"]["accuracy"]
    best = max(found, key=lambda model: np.mean([v for v, _ in found[model].values()]))
    assert name == f"tiny-{best}"
    validation, test = found[best][version.tags["seed"]]
    assert validation == max(v for v, _ in found[best].values())
    assert float(version.tags["test_accuracy"]) == pytest.approx(test, rel=1e-5)
    assert version.tags["zoo"].startswith("tiny-")
    assert "Chosen on validation networks" in version.description


def test_registering_twice_makes_no_second_version(
    reported: Path, tiny: Path, dwszoo: Command, champion
) -> None:
    options = [tiny, "--root", reported, "--engine", "local"]
    code, out, _ = dwszoo("report", *options, "--register")
    assert code == 0
    assert f"models:/{champion[0]}@champion, version 1\n" in out


def test_predictions_of_a_zoo_are_those_of_the_model(
    reported: Path, zoo: ZooReader, champion, dwszoo: Command, tmp_path: Path
) -> None:
    out_file = tmp_path / "predictions.parquet"
    name = f"models:/{champion[0]}@champion"
    code, out, err = dwszoo("predict", name, "tiny", "--root", reported, "--out", out_file)
    assert code == 0, err
    frame = pd.read_parquet(out_file)
    model = decode(file_of(reported, champion[1]).read_bytes(), "file")
    logits = model.predict(zoo.theta())
    assert frame["prediction"].tolist() == logits.argmax(1).tolist()
    shares = np.stack(frame["probabilities"].to_list())
    np.testing.assert_allclose(shares, logits.softmax(1).numpy(), atol=1e-5)
    assert frame["member"].tolist() == list(range(len(zoo)))
    test = frame[frame["split"] == "test"]
    assert f"accuracy {(test['prediction'] == test['label']).mean():.1%}" in out.split("test")[1]
    about = json.loads(pq.read_schema(out_file).metadata[b"dwszoo"])
    assert about["zoo"] == f"tiny-{zoo.hash8}"


@pytest.mark.parametrize("form", ["name", "version", "run", "runs:/", "file", "folder"])
def test_a_model_has_many_names(
    form: str, reported: Path, champion, dwszoo: Command, tmp_path: Path
) -> None:
    name, version = champion
    file = file_of(reported, version)
    model = {
        "name": name,
        "version": f"models:/{name}/1",
        "run": version.run_id,
        "runs:/": f"runs:/{version.run_id}/model",
        "file": file,
        "folder": file.parent,
    }[form]
    out_file = tmp_path / "predictions.parquet"
    code, _, err = dwszoo("predict", model, "tiny", "--root", reported, "--out", out_file)
    assert (code, err.count("Traceback")) == (0, 0), err
    assert len(pd.read_parquet(out_file)) == 80


def test_predictions_lie_below_the_root_by_default(
    reported: Path, champion, dwszoo: Command
) -> None:
    code, out, _ = dwszoo("predict", champion[0], "tiny", "--root", reported)
    assert code == 0
    (file,) = (reported / "predictions").iterdir()
    assert str(file) in out


@pytest.mark.parametrize("whole", [True, False], ids=["module", "state dict"])
def test_ones_own_network_is_told(
    whole: bool, reported: Path, champion, dwszoo: Command, tmp_path: Path
) -> None:
    file = tmp_path / "own.pth"
    torch.save(NETWORK if whole else NETWORK.state_dict(), file)
    code, out, err = dwszoo("predict", champion[0], file, "--root", reported)
    assert code == 0, err
    model = decode(file_of(reported, champion[1]).read_bytes(), "file")
    theta = nn.utils.parameters_to_vector(NETWORK.parameters()).detach()[None]
    share, label = model.predict(theta).softmax(1)[0].max(0)
    assert re.search(rf"^class {int(label)} +{float(share):.1%}$", out, re.MULTILINE), out


def test_another_architecture_is_told_with_both(
    reported: Path, champion, dwszoo: Command, tmp_path: Path
) -> None:
    file = tmp_path / "own.pth"
    torch.save(nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 1)).state_dict(), file)
    code, _, err = dwszoo("predict", champion[0], file, "--root", reported)
    assert code == 1
    assert "own.pth: its networks are the MLP 2-9-1 (37 weights), but tiny-" in err
    assert "reads the MLP 2-6-1 (25 weights)" in err


WRONG = {
    "near": ("models:/tiny-mlpp@champion", r"no registered model 'tiny-mlpp'.*; .* has tiny-"),
    "alias": ("models:/{name}@boss", r"no such version; {name} has 1; @champion is version 1"),
    "version": ("models:/{name}/7", r"no such version; {name} has 1; @champion is version 1"),
    "run": ("0" * 32, r"run 0{{32}}: there is none in sqlite"),
    "parent": ("{parent}", r"has no model: give the run of one model and seed"),
    "file": ("nowhere.safetensors", r"nowhere\.safetensors: there is no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_model_that_is_not_there_is_told(
    case: str, reported: Path, champion, dwszoo: Command
) -> None:
    from mlflow import MlflowClient

    name, version = champion
    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    parent = client.get_run(version.run_id).data.tags["mlflow.parentRunId"]
    model, expected = WRONG[case]
    code, _, err = dwszoo(
        "predict", model.format(name=name, parent=parent), "tiny", "--root", reported
    )
    assert code == 1
    assert re.search(expected.format(name=name), err), err
    assert err.count("\n") == 1


def test_the_nearest_name_is_told(reported: Path, champion, dwszoo: Command) -> None:
    wrong = f"{champion[0]}s"
    code, _, err = dwszoo("predict", f"models:/{wrong}@champion", "tiny", "--root", reported)
    assert code == 1
    assert f"(did you mean {champion[0]}?)" in err


@pytest.mark.parametrize("out", ["s3://bucket", "."])
def test_predictions_need_the_name_of_a_file(out: str, reported: Path, dwszoo: Command) -> None:
    code, _, err = dwszoo("predict", "tiny-mlp", "tiny", "--root", reported, "--out", out)
    assert (code, f"--out: got '{out}', expected the name of a file" in err) == (2, True), err


def test_a_model_that_is_not_registered_is_told_by_its_best_seed(
    reported: Path, zoo: ZooReader, champion, dwszoo: Command, tmp_path: Path
) -> None:
    (name,) = {"tiny-dwsnet", "tiny-mlp"} - {champion[0]}
    files = sorted((reported / "models").glob(f"{name}-seed*/result.json"))
    results = {f: json.loads(f.read_text()) for f in files}
    scores = {f: r["history"][r["best_epoch"] - 1]["val_accuracy"] for f, r in results.items()}
    best = max(scores, key=lambda file: scores[file]).parent
    out_file = tmp_path / "predictions.parquet"
    code, out, err = dwszoo("predict", name, "tiny", "--root", reported, "--out", out_file)
    assert code == 0, err
    assert f"model        {best}, best on validation of 2 seeds\n" in out
    model = decode((best / "model.safetensors").read_bytes(), "file")
    told = pd.read_parquet(out_file)["prediction"].tolist()
    assert told == model.predict(zoo.theta()).argmax(1).tolist()


def test_a_name_that_models_of_other_settings_have_too_is_refused(
    reported: Path, zoo: ZooReader, dwszoo: Command, tmp_path: Path
) -> None:
    (folder,) = (reported / "models").glob("tiny-mlp-seed0-*")
    other = f"{folder.name[:-8]}00000000"
    for name in (folder.name, other):
        shutil.copytree(folder, tmp_path / "models" / name)
    record = json.loads((folder / "result.json").read_text())
    epochs = record["job"]["training"]["epochs"]
    record["job"]["training"]["epochs"] = 90
    (tmp_path / "models" / other / "result.json").write_text(json.dumps(record))
    code, _, err = dwszoo("predict", "tiny-mlp", zoo.url, "--root", tmp_path)
    told = f"{other} (training.epochs=90), {folder.name} (training.epochs={epochs})"
    assert (code, f"give one of {told}" in err) == (1, True), err
    assert dwszoo("predict", folder.name, zoo.url, "--root", tmp_path)[0] == 0


def test_a_root_without_models_is_told_and_left_alone(dwszoo: Command, tmp_path: Path) -> None:
    code, _, err = dwszoo("predict", "tiny-mlp", "tiny", "--root", tmp_path)
    assert code == 1
    assert "no model of this name; known here: none (--root is another" in err
    assert list(tmp_path.iterdir()) == []
