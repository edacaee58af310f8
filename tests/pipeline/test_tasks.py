"""Tasks of a config from end to end, without Ray: on zoos made here and on zoos that are there."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.config.config import load
from zoo_gen import ConfigError, open_zoo

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo_gen"))

from layouts import LAYOUTS

LOCAL = ("--engine", "local")
SINES = """
name: sines
description: forty sines
source: {kind: sine, points: 20, count: 40}
zoo:
  fit: {widths: [1, 4, 1], steps: 2}
  split: {train: 28, val: 6, test: 6}
task: {kind: regress, columns: [frequency]}
models:
  dwsnet:
    network: {kind: dwsnet, hidden_channels: 4, layers: 1}
    training: {epochs: 2}
    published: "0.1 (someone 2023)"
  mlp:
    network: {kind: mlp, hidden: [8]}
    training: {epochs: 2}
seeds: [0, 1]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "sines.yaml"
    file.write_text(SINES)
    return file


def rows_of_results(report: str) -> list[str]:
    """The lines of a report's first table, its head and the line below that left in."""
    lines = report.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return list(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))


def test_numbers_are_learned_and_reported(dwszoo, config: Path, tmp_path: Path) -> None:
    code, out, err = dwszoo("run", config, "--root", tmp_path, *LOCAL)
    assert code == 0, err
    assert "sines: MSE (less is better)" in out
    report = next(tmp_path.rglob("report.md")).read_text()
    head, _, first, second = rows_of_results(report)
    assert head.startswith("| model | test MSE | test R² | validation MSE |")
    assert first.startswith("| dwsnet | ")
    assert first.endswith("| 0.1 (someone 2023) |")
    assert second.endswith("| – |")
    for name in ("mse.png", "r2.png", "curves.png"):
        assert f"]({name})" in report
        assert next(tmp_path.rglob(name)).read_bytes().startswith(b"\x89PNG")
    result = json.loads(next(tmp_path.rglob("models/*/result.json")).read_text())
    assert result["output"] == {"kind": "values", "size": 1, "names": ["frequency"]}
    assert set(result["test"]) == {"loss", "mse", "r2"}


def test_a_model_is_trained_on_each_number_of_networks(
    dwszoo, config: Path, tmp_path: Path
) -> None:
    code, _, err = dwszoo("run", config, "--root", tmp_path, *LOCAL, "--set", "train_on=[8, 16]")
    assert code == 0, err
    report = next(tmp_path.rglob("report.md")).read_text()
    rows = [line.split(" | ")[:2] for line in rows_of_results(report)[2:]]
    assert rows == [["| dwsnet", "8"], ["| dwsnet", "16"], ["| mlp", "8"], ["| mlp", "16"]]
    assert next(tmp_path.rglob("networks.png")).read_bytes().startswith(b"\x89PNG")


def test_more_training_networks_than_there_are_is_told(
    dwszoo, config: Path, tmp_path: Path
) -> None:
    code, _, err = dwszoo("run", config, "--root", tmp_path, *LOCAL, "--set", "train_on=[99]")
    assert code == 1
    assert "train_on: got 99, but the training split has 28 networks" in err


def test_a_column_that_the_zoo_lacks_is_told_with_configs_that_have_it(
    dwszoo, config: Path, tmp_path: Path
) -> None:
    code, _, err = dwszoo(
        "run", config, "--root", tmp_path, "--set", "task={kind: predict-accuracy}"
    )
    assert code == 2
    assert "task: predict-accuracy learns the column test_accuracy, but the zoo sines has no" in err
    assert "whose zoos have it: adapt-cifar10, cnn-cifar10, mlp-mnist" in err
    assert not (tmp_path / "zoos").exists()


def test_a_column_with_a_slip_of_the_pen_names_the_nearest(
    dwszoo, config: Path, tmp_path: Path
) -> None:
    task = "task={kind: regress, columns: [freqency]}"
    _, _, err = dwszoo("run", config, "--root", tmp_path, "--set", task)
    assert "has no freqency (did you mean frequency?); of its own it has" in err


ZOO = """
name: theirs
description: networks of others
source: {kind: zoo, path: src}
models:
  mlp:
    network: {kind: mlp, hidden: [8]}
    training: {epochs: 2}
seeds: [0]
"""


@pytest.fixture
def imported(dwszoo, tmp_path: Path) -> Path:
    """The folder of a zoo of others, with labels."""
    LAYOUTS["nfn-siren"](tmp_path / "src")
    code, out, err = dwszoo(
        "import", "nfn-siren", tmp_path / "src", "--root", tmp_path, "--split-at", "7,9"
    )
    assert code == 0, err
    (tmp_path / "theirs.yaml").write_text(ZOO)
    return Path(out.strip())


def test_an_imported_zoo_is_trained_on_by_its_name(dwszoo, imported: Path, tmp_path: Path) -> None:
    code, out, err = dwszoo("run", tmp_path / "theirs.yaml", "--root", tmp_path, *LOCAL)
    assert code == 0, err
    assert f"zoo     {imported}" in out
    assert "48 networks of 12 signals" in out


def test_a_zoo_of_the_root_is_known_by_its_folder_there(imported: Path, tmp_path: Path) -> None:
    from pipeline.environment import Environment
    from pipeline.experiment import Experiment
    from zoo_gen import Store

    for path in ("src", str(imported)):
        config = load(str(tmp_path / "theirs.yaml"), (f"source.path={path}",))
        run = Experiment(*config, Environment(Store(str(tmp_path))))
        assert run.facts.folder == f"zoos/{imported.name}"


def test_the_driver_holds_no_networks_while_workers_train(
    dwszoo, config: Path, tmp_path: Path, monkeypatch
) -> None:
    from pipeline.environment import Environment
    from pipeline.experiment import Experiment
    from pipeline.steps import train_models
    from training import train_job
    from zoo_gen import Store

    code, _, err = dwszoo("generate", config, "--root", tmp_path, *LOCAL)
    assert code == 0, err
    held: list[int] = []
    monkeypatch.setattr(
        "training.ray_engine.train_on_ray",
        lambda *_: held.append(train_job._job_data.cache_info().currsize),
    )
    environment = Environment(Store(str(tmp_path)), "ray")
    vars(environment)["cpus"] = 2  # as if a Ray were there
    training = Experiment(*load(str(config)), environment)
    vars(training)["tracking"] = None
    train_models(training)
    assert held == [0]


def test_a_zoo_elsewhere_is_trained_on_by_its_folder(
    dwszoo, imported: Path, tmp_path: Path
) -> None:
    moved = imported.rename(tmp_path / "renamed")
    code, out, err = dwszoo(
        "run", tmp_path / "theirs.yaml", "--root", tmp_path / "other", *LOCAL,
        "--set", f"source.path={moved}",
    )  # fmt: skip
    assert code == 0, err
    assert f"zoo     {moved}" in out
    result = json.loads(next((tmp_path / "other").rglob("result.json")).read_text())
    assert result["job"]["zoo"] == open_zoo(moved).hash8


def test_a_zoo_that_is_not_there_is_told(dwszoo, tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text(ZOO)
    code, _, err = dwszoo("train", tmp_path / "theirs.yaml", "--root", tmp_path)
    assert code == 1
    assert f"src: {tmp_path} holds no zoo; give another --root" in err


def test_a_task_that_an_imported_zoo_lacks_columns_of_is_told(
    dwszoo, imported: Path, tmp_path: Path
) -> None:
    code, _, err = dwszoo(
        "train", tmp_path / "theirs.yaml", "--root", tmp_path, "--set", "task={kind: regress}"
    )
    assert code == 2
    assert "regress learns the column frequency, but the zoo src has no frequency" in err
    assert "sine-frequency, sine-ssl" in err


WRONG = {
    ("digits", "task.kind=clasify"): r"^task.kind: got clasify .did you mean classify",
    ("digits", "task={kind: regress, columns: []}"): r"^task.columns: got \[\], expected one or",
    ("digits", "task={kind: regress, column: a}"): r"^task.column: unknown key .did you mean colum",
    ("digits", "train_on=[0]"): r"^train_on: got \[0\], expected different numbers, each 1 or more",
    ("digits", "source={kind: zoo, path: a}"): r"^zoo: the source is an existing zoo",
    ("digits", "source={kind: zoo}"): r"^source.path: missing; give the folder of a zoo",
}


@pytest.mark.parametrize(("name", "change"), WRONG)
def test_a_wrong_task_is_told_by_its_key(name: str, change: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[name, change]):
        load(name, (change,))


def test_hashes_of_classification_are_those_of_before_there_were_tasks(tmp_path: Path) -> None:
    from pipeline.environment import Environment
    from pipeline.experiment import Experiment
    from zoo_gen import Store

    run = Experiment(*load("digits"), Environment(Store(str(tmp_path))))
    assert run.jobs[0].settings.keys() == {"network", "training", "seed", "zoo", "column"}
    assert yaml.safe_dump(run.jobs[0].settings["column"]).startswith("label")


DIGITS = """
name: few
description: sixty digits
source: {kind: digits}
limit: 60
zoo:
  fit: {widths: [2, 5, 4, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}
  split: {train: 40, val: 10, test: 10}
models:
  dwsnet:
    network: {kind: dwsnet, hidden_channels: 4, layers: 1}
    training: {epochs: 1}
seeds: [0]
"""
PICTURES = {
    "edit": ("{kind: edit, edit: erode}", {"mse.png", "edits.png", "curves.png"}),
    "contrast": ("{kind: contrast, columns: [label]}", {"embedding.png", "mse.png", "r2.png"}),
    "retrieve": ("{kind: retrieve}", {"neighbours-dwsnet.png", "top1.png", "top10.png"}),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_task_is_run_and_drawn(dwszoo, tmp_path: Path, kind: str) -> None:
    (tmp_path / "few.yaml").write_text(DIGITS)
    task, pictures = PICTURES[kind]
    arguments = ("run", tmp_path / "few.yaml", "--root", tmp_path, *LOCAL)
    code, out, err = dwszoo(*arguments, "--set", f"task={task}")
    assert code == 0, err
    assert "│ dwsnet │" in out
    assert pictures <= {file.name for file in (tmp_path / "reports").rglob("*.png")}


UNSUITED = {
    "edit changes what networks draw": ("sine-frequency", "{kind: edit}"),
    "adapt learns the columns class_a, class_b, activation, but": ("digits", "{kind: adapt}"),
    "models.statistics: network.kind: got statistics, but": ("mnist", "{kind: edit}"),
    "models.unchanged: network.kind: got unchanged, which": ("mnist-edit", "{kind: classify}"),
}


@pytest.mark.parametrize("message", UNSUITED)
def test_a_task_that_zoo_or_model_does_not_suit_is_told_before_any_work(
    dwszoo, tmp_path: Path, message: str, request: pytest.FixtureRequest
) -> None:
    name, task = UNSUITED[message]
    path: tuple[str, ...] = ()
    if name.startswith("mnist"):
        path = ("--set", f"source.path={request.getfixturevalue('mnist')}")
    code, _, err = dwszoo("run", name, "--root", tmp_path, *path, "--set", f"task={task}")
    assert code == 2, err
    assert message in err
    assert not (tmp_path / "zoos").exists()


def test_configs_of_one_zoo_share_it(mnist: Path) -> None:
    from pipeline.environment import Environment
    from pipeline.experiment import Experiment
    from zoo_gen import Store

    names = ("mnist", "mnist-edit", "mnist-retrieve")
    runs = [
        Experiment(*load(n, (f"source.path={mnist}",)), Environment(Store("/nowhere")))
        for n in names
    ]
    assert len({run.facts.folder for run in runs}) == 1
