"""`dwszoo tune`: a search from its config to the config that it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.config.config import load, load_search
from pipeline.environment import Environment
from pipeline.search import Search
from pipeline.views.search import title, write
from training.search.settings import Objective
from training.search.trials import Trial, TrialStore, best_of
from zoo_gen import Store

RANGES = (
    "models.mlp.training.learning_rate={log_uniform: [1e-4, 1e-1], default: 2e-3}",
    "models.mlp.network.hidden={choice: [[8], [16, 8]], default: [8]}",
)
SETS = [word for change in RANGES for word in ("--set", change)]
RATE, HIDDEN = "models.mlp.training.learning_rate", "models.mlp.network.hidden"
Command = Callable[..., tuple[int, str, str]]


def searched(tiny: Path, root: Path, *changes: str) -> Search:
    plain, space = load_search(str(tiny), (*RANGES, *changes))
    return Search(plain, space, Environment(Store(str(root))))


def records(root: Path) -> list[Trial]:
    (folder,) = (root / "searches").iterdir()
    return TrialStore(Store(str(root)), f"searches/{folder.name}").read()


TRIALS = [
    Trial(0, {RATE: 2e-3, HIDDEN: (8,)}, "done", ((1, 0.2), (2, 0.3)), 1.0),
    Trial(1, {RATE: 2e-2, HIDDEN: (16, 8)}, "done", ((1, 0.4), (2, 0.35)), 1.0),
    Trial(2, {RATE: 9e-2, HIDDEN: (8,)}, "stopped", ((1, 0.1),), 0.5),
    Trial(3, {RATE: 8e-2, HIDDEN: (8,)}, "failed", (), 0.5, "the loss is <nan>"),
]


def test_a_search_ends_with_a_config_that_train_takes(
    tiny: Path, tmp_path: Path, dwszoo: Command, ray_session: int
) -> None:
    root, best = tmp_path / "root", tmp_path / "best.yaml"
    options = ("--root", root, *SETS, "--trials", 3, "--set", "tune.cpus=0.5")
    code, out, err = dwszoo("tune", tiny, *options, "--output", best)
    assert code == 0, err
    assert "mlp: 3 trials" in out
    parsed, _ = load(str(best))
    assert list(parsed.models) == ["mlp"]
    winner = best_of(records(root), Objective("val_accuracy", greater=True))
    assert winner is not None
    assert parsed.models["mlp"].training.learning_rate == winner.params[RATE]
    assert parsed.seeds == (0, 1)

    before = records(root)
    code, out, err = dwszoo("tune", tiny, *options, "--retrain")
    assert code == 0, err
    assert records(root) == before
    assert "3 trials are finished" in err
    assert len(list((root / "models").iterdir())) == 2  # of two seeds
    assert "report  " in out


def test_if_all_trials_fail_it_says_why(
    tiny: Path, tmp_path: Path, dwszoo: Command, ray_session: int
) -> None:
    fast = ("--set", "models.mlp.training.learning_rate={uniform: [1e18, 1e19]}")
    options = ("--root", tmp_path, *fast, "--trials", 2, "--set", "tune.cpus=0.5")
    code, _, err = dwszoo("tune", tiny, *options)
    assert code == 1, err
    last = err.splitlines()[-1]
    assert last.startswith("dwszoo: all 2 trials failed, 2 of them with: the loss is")
    assert "--retry-failed" in last
    assert "trial 0 failed: the loss is" in err
    assert {t.status for t in records(tmp_path)} == {"failed"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((), "tune: there is nothing to search: no value of tiny is a range"),
        (
            (*SETS, "--set", "tune.model=mpl"),
            "tune.model: got mpl (did you mean mlp?); the config has dwsnet, mlp",
        ),
        (
            (*SETS, "--set", "tune.model=dwsnet"),
            f"no value of it is a range; the ranges are {HIDDEN}, {RATE}",
        ),
        (
            ("--set", "zoo.views={choice: [1, 2]}"),
            "tune.model: missing; the config has dwsnet, mlp; name one",
        ),
        (
            (*SETS, "--set", "tune.metric=val_acuracy"),
            "tune.metric: got val_acuracy (did you mean val_accuracy?); a classify training",
        ),
        (
            (*SETS, "--set", "tune.metric=test_accuracy"),
            "tune.metric: got test_accuracy (a search sees validation data alone)",
        ),
        (
            (*SETS, "--set", "tune.method=optna"),
            "tune.method: got 'optna', expected 'optuna' or 'random'",
        ),
        (
            (*SETS, "--set", "tune.trails=3"),
            "tune.trails: unknown key (did you mean trials?)",
        ),
        (
            (*SETS, "--set", "tune.method=population"),
            "tune.method: got 'population', expected 'optuna' or 'random'",
        ),
        ((*SETS, "--engine", "local"), "--engine: got local, but a search needs Ray"),
    ],
)
def test_mistakes_are_named_before_anything_starts(
    tiny: Path, tmp_path: Path, dwszoo: Command, wrong: tuple[str, ...], message: str
) -> None:
    code, _, err = dwszoo("tune", tiny, "--root", tmp_path / "root", *wrong)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_a_greater_budget_is_the_same_search_and_another_range_is_not(
    tiny: Path, tmp_path: Path
) -> None:
    one = searched(tiny, tmp_path)
    more = searched(tiny, tmp_path, "tune.trials=99", "tune.minutes=5", "tune.cpus=0.5")
    other = searched(tiny, tmp_path, f"{RATE}={{log_uniform: [1e-5, 1e-1], default: 2e-3}}")
    assert one.folder == more.folder
    assert one.folder != other.folder


def test_a_trial_of_the_zoo_has_a_zoo_of_its_own(tiny: Path, tmp_path: Path) -> None:
    search = searched(tiny, tmp_path, "zoo.fit.steps={choice: [5, 6]}", "tune.model=mlp")
    one = {"zoo.fit.steps": 5, RATE: 1e-3, HIDDEN: (8,)}
    five, six = search.work_of(one), search.work_of({**one, "zoo.fit.steps": 6})
    assert five.recipe is not None
    assert six.recipe is not None
    assert five.job.zoo == five.recipe.folder != six.recipe.folder
    assert five.job.training.learning_rate == 1e-3


def test_a_trial_of_the_model_shares_the_zoo(tiny: Path, tmp_path: Path) -> None:
    work = searched(tiny, tmp_path).work_of({RATE: 1e-3, HIDDEN: (16, 8)})
    assert work.recipe is None
    assert work.job.network.hidden == (16, 8)  # type: ignore[union-attr]
    assert work.job.seed == 0


def test_the_title_has_the_gain_over_the_configs_own_values(tiny: Path, tmp_path: Path) -> None:
    lines = title(searched(tiny, tmp_path), TRIALS)
    assert "4 trials (2 done, 1 stopped, 1 failed)" in lines
    assert "val_accuracy: 0.4, with the config's own values 0.3" in lines


def test_the_page_is_whole_and_escapes_what_it_shows(tiny: Path, tmp_path: Path) -> None:
    files = write(searched(tiny, tmp_path), TRIALS)
    html = files["search.html"].decode()
    assert html.count("data:image/png;base64,") == 3
    assert "http" not in html.replace("http-equiv", "")
    assert "&lt;nan&gt;" in html
    assert json.dumps(TRIALS[0].params[HIDDEN]) in html
    assert yaml.safe_load(files["best.yaml"])["models"]["mlp"]["network"]["hidden"] == [16, 8]
    (folder,) = (tmp_path / "searches").iterdir()
    assert {f.name for f in folder.iterdir()} == set(files)
    assert (tmp_path / "mlartifacts").is_dir()


@pytest.mark.filterwarnings("error::UserWarning")  # a label outside its figure is one
def test_pictures_can_be_drawn_of_one_trial_and_of_equal_ones(tiny: Path, tmp_path: Path) -> None:
    search = searched(tiny, tmp_path)
    for trials in (TRIALS[:1], [TRIALS[0], Trial(5, TRIALS[1].params, "done", ((1, 0.3),))]):
        write(search, trials)
