"""The commands as a person uses them: what they print, their exit status, what a mistake costs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.commands.cli import cli
from pipeline.commands.report import free_port

LOCAL = ("--engine", "local")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A root where the tiny config has run, without Ray."""
    from pipeline.commands.cli import status

    folder = tmp_path_factory.mktemp("root")
    assert status(["run", str(tiny), "--root", str(folder), *LOCAL]) == 0
    return folder


def numbers(text: str) -> list[str]:
    """The table's rows."""
    return [line for line in text.splitlines() if re.match(r"│ (dwsnet|mlp)", line)]


def test_a_second_run_does_nothing_and_tells_the_same(dwszoo, tiny: Path, root: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in root.rglob("*.parquet")} | {
        f: f.stat().st_mtime_ns for f in root.rglob("model.safetensors")
    }
    code, first, _ = dwszoo("report", tiny, "--root", root)
    assert code == 0
    code, second, err = dwszoo("run", tiny, "--root", root)  # Ray by default: not even started
    assert code == 0
    assert numbers(first) == numbers(second) != []
    assert "networks exist" in err
    assert "all 4 are trained" in err
    assert before == {f: f.stat().st_mtime_ns for f in before}


def test_everything_in_the_table_is_in_mlflow(dwszoo, tiny: Path, root: Path) -> None:
    import statistics

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    _, out, _ = dwszoo("report", tiny, "--root", root)
    for line in numbers(out):
        model, test, validation, parameters, speed, seeds = line.strip("│ ").split(" │ ")
        mine = [r.data.metrics for r in runs if r.data.tags.get("model") == model.strip()]
        assert len(mine) == int(seeds)
        for cell, name in ((test, "test_accuracy"), (validation, "best_val_accuracy")):
            values = [100 * m[name] for m in mine]
            assert cell.strip() == f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
        assert int(parameters.replace(",", "")) == mine[0]["parameters"]
        mean_speed = statistics.mean(m["mean_networks_per_second"] for m in mine)
        assert int(speed.replace(",", "")) == round(mean_speed)
    artifacts = {a.path for a in client.list_artifacts(parents[0].info.run_id)}
    assert artifacts == {"config.yaml", "report.md", "accuracy.png", "curves.png"}
    assert parents[0].info.status == "FINISHED"


def test_run_with_ray_end_to_end(
    ray_session, dwszoo, tiny: Path, tmp_path: Path, root: Path
) -> None:
    code, out, err = dwszoo("run", tiny, "--root", tmp_path, "--workers", 2)
    assert code == 0, err
    assert len(numbers(out)) == 2
    theirs = sorted((tmp_path / "zoos").rglob("*.parquet"))
    ours = sorted((root / "zoos").rglob("*.parquet"))
    assert [f.read_bytes() for f in theirs] == [f.read_bytes() for f in ours]


def test_what_mlflow_lost_is_written_again(dwszoo, tiny: Path, tmp_path: Path, root: Path) -> None:
    import shutil

    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mlflow.db").unlink()
    code, _, err = dwszoo("report", tiny, "--root", tmp_path)
    assert (code, "`dwszoo train` with the same" in err) == (1, True)
    _, before, _ = dwszoo("report", tiny, "--root", root)
    code, after, err = dwszoo("run", tiny, "--root", tmp_path)
    assert code == 0
    assert err.count("trained before, now tracked") == 4
    assert numbers(after) == numbers(before)


def test_inspect_counts_what_is_there(dwszoo, root: Path) -> None:
    code, out, _ = dwszoo("inspect", "tiny", "--root", root)
    assert code == 0
    assert re.search(r"train .*56 .* 0 ", out)
    assert re.search(r"val .*8 .* 0 ", out)
    assert re.search(r"test .*16 .* 0 ", out)


def test_inspect_names_the_zoos_that_are_there(dwszoo, root: Path) -> None:
    code, _, err = dwszoo("inspect", "mnist", "--root", root)
    assert code == 1
    name = next((root / "zoos").iterdir()).name
    assert f"no zoo of this name in {root}; give one of {name}, or the folder of a zoo" in err


def test_of_several_zoos_that_begin_alike_each_is_named_once(dwszoo, tmp_path: Path) -> None:
    for name in ("digits-11111111", "digits-22222222", "mnist-33333333"):
        (tmp_path / "zoos" / name).mkdir(parents=True)
    code, _, err = dwszoo("inspect", "digits", "--root", tmp_path)
    assert code == 1
    assert err == (
        "dwszoo: digits: several zoos begin so; give one of digits-11111111, digits-22222222\n"
    )


def test_a_corrupt_shard_is_named_and_never_trained_on(dwszoo, tiny: Path, tmp_path: Path) -> None:
    dwszoo("generate", tiny, "--root", tmp_path, *LOCAL)
    shard = sorted(tmp_path.rglob("part-*.parquet"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    for command in ("run", "train"):
        code, _, err = dwszoo(command, tiny, "--root", tmp_path, *LOCAL)
        assert code == 1
        assert "part-00001.parquet is corrupt" in err
        assert not list(tmp_path.rglob("result.json"))
    shard.unlink()
    assert dwszoo("generate", tiny, "--root", tmp_path, *LOCAL)[0] == 0
    assert shard.read_bytes() == whole


def test_training_without_a_zoo_says_which_command_makes_it(
    dwszoo, tiny: Path, tmp_path: Path
) -> None:
    code, _, err = dwszoo("train", tiny, "--root", tmp_path, *LOCAL)
    assert code == 1
    assert "is not a zoo" in err
    assert "dwszoo generate" in err


def test_training_ends_with_the_command_that_shows_its_table(
    dwszoo, tiny: Path, root: Path
) -> None:
    code, _, err = dwszoo("train", tiny, "--root", root)
    assert (code, err.splitlines()[0]) == (0, "models: all 4 are trained")
    assert err.splitlines()[1].startswith("`dwszoo report` with the same config and options")


def test_a_report_of_what_is_not_trained_says_so(dwszoo, tiny: Path, tmp_path: Path) -> None:
    code, _, err = dwszoo("report", tiny, "--root", tmp_path)
    assert code == 1
    assert "4 of 4 models are not trained (first: dwsnet seed 0); run `dwszoo train` with" in err


def test_a_report_without_the_options_of_its_run_names_them(
    dwszoo, tiny: Path, tmp_path: Path
) -> None:
    options = ["--set", "seeds=[5]", "--set", "models.mlp.training.epochs=1", "--limit", "70"]
    assert dwszoo("run", tiny, "--root", tmp_path, *LOCAL, *options)[0] == 0
    given = ["--set", "train_on=[20]"]
    code, _, err = dwszoo("report", tiny, "--root", tmp_path, *given)
    assert code == 1
    way = re.search(r"with other settings: to report them add `(.*)` and leave out train_on;", err)
    assert way is not None, err
    assert sorted(shlex.split(way[1])) == sorted(options)
    code, out, err = dwszoo("report", tiny, "--root", tmp_path, *shlex.split(way[1]))
    assert (code, len(numbers(out))) == (0, 2), err


MISTAKES = {
    "no config": (["run"], 2, "Missing argument 'CONFIG'"),
    "unknown config": (["run", "digist"], 2, "did you mean digits"),
    "unknown command": (["rum", "digits"], 2, "Did you mean 'run'"),
    "unknown option": (["run", "digits", "--rot", "x"], 2, "--root"),
    "unknown key": (["run", "digits", "--set", "zoo.vews=1"], 2, "did you mean views"),
    "limit 0": (["run", "digits", "--limit", "0"], 2, "limit: got 0, expected 1 to 1797"),
    "limit no number": (["run", "digits", "--limit", "x"], 2, "'x' is not a valid integer"),
    "empty split": (["run", "digits", "--limit", "3"], 2, "leave the"),
    "engine": (["run", "digits", "--engine", "dask"], 2, "'dask' is not one of 'ray', 'local'"),
    "workers": (["run", "digits", "--workers", "0"], 2, "0 is not in the range"),
    "no path": (["run", "mnist"], 2, "--set source.path=DIR"),
    "no directory": (["run", "mnist", "--set", "source.path=/nowhere"], 1, "is not a directory"),
    "root is a file": (["run", "digits", "--root", "/dev/null/x"], 1, "is a file"),
    "no such cluster": (
        ["generate", "digits", "--address", "127.0.0.1:1", "--limit", "40"],
        1,
        "the Ray cluster at 127.0.0.1:1 could not be reached",
    ),
    "another kind of root": (["run", "digits", "--root", "gs://b/x"], 2, "or s3://bucket/prefix"),
    "no such home": (["run", "mnist", "--set", "source.path=~no/x"], 1, "is not a directory"),
    "too many workers per model": (
        ["run", "digits", "--limit", "30", "--workers", "1", "--workers-per-model", "2"],
        2,
        "--workers-per-model: got 2, but there are 1 worker(s) here",
    ),
    "no such zoo": (["inspect", "nothing"], 1, "holds no zoo; give another --root"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_an_exit_status(mistake: str, tmp_path: Path) -> None:
    arguments, code, message = MISTAKES[mistake]
    if "--root" not in arguments and "--rot" not in arguments and arguments[0] != "rum":
        arguments = [*arguments, "--root", str(tmp_path)] if len(arguments) > 1 else arguments
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("dwszoo: ")]
    assert len(ours) == 1


@pytest.mark.parametrize(
    ("limit", "message"),
    [(3, "3 signals leave the val split empty"), (5, "has no network of class [0, 1]")],
)
def test_too_few_signals_are_told_before_they_are_fitted(
    dwszoo, tmp_path: Path, limit: int, message: str
) -> None:
    command = ["run", "digits", "--root", tmp_path, *LOCAL]
    code, _, err = dwszoo(*command, "--limit", limit)
    assert (code, message in err) == (2, True), err
    assert not (tmp_path / "zoos").exists()
    enough = re.search(r"--limit (\d+) is enough", err)
    assert enough is not None
    tiny = "models={mlp: {network: {kind: mlp}, training: {epochs: 1}}}"
    quick = ("--set", tiny, "--set", "zoo.fit.steps=1", "--set", "seeds=[0]")
    assert dwszoo(*command, "--limit", enough[1], *quick)[0] == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "digist", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" in done.stderr


def test_a_taken_port_is_not_offered() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ctrl_c_loses_nothing_and_the_same_command_continues(tmp_path: Path, engine: str) -> None:
    arguments = ["generate", "digits", "--limit", "200", "--root", str(tmp_path)]
    arguments += ["--engine", engine, "--workers", "2", "--set", "zoo.views=4"]
    arguments += ["--set", "zoo.rows_per_shard=16"]
    command = [sys.executable, "-m", "pipeline", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while len(list(tmp_path.rglob("part-*.parquet"))) < 3 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "the same command continues" in err
    assert "Traceback" not in err
    kept = {f: f.read_bytes() for f in tmp_path.rglob("part-*.parquet")}
    assert 3 <= len(kept) < 50
    assert not list(tmp_path.rglob("*.tmp"))
    arguments[arguments.index("--engine") + 1] = "local"
    again = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert len(list(tmp_path.rglob("part-*.parquet"))) == 50
    assert all(f.read_bytes() == data for f, data in kept.items())
    left = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_with_an_example(dwszoo, command: str) -> None:
    code, out, _ = dwszoo(command, "--help")
    assert code == 0
    assert f"dwszoo {command}" in out.split("Options:")[0].split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_is_in_the_readme(command: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"dwszoo {command}" in readme


def test_configs_lists_the_built_in_ones(dwszoo) -> None:
    _, out, _ = dwszoo("configs")
    assert re.search(r"^digits +scikit-learn", out, re.M)
    assert re.search(r"^mnist +", out, re.M)
