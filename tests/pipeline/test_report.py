"""What a report says beside the numbers that were tracked, and what it leaves as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dws import WeightSpace
from pipeline.lookup import model_below
from pipeline.views import report
from pipeline.views.report_rows import Row, best_of
from training import results
from training.tasks import Classify, Regress, Task, TaskData
from zoo_gen import ModelError, Store
from zoo_gen.recipe.classifier import RUN_STEPS
from zoo_gen.recipe.forward_pass import UNKNOWN

NAN = math.nan
Command = Callable[..., tuple[int, str, str]]


def run_of(task: Task, *jobs: Any) -> Any:
    """As much of a run as chance and choice look at."""
    return SimpleNamespace(
        config=SimpleNamespace(task_or_default=task),
        jobs=jobs,
        environment=SimpleNamespace(store=None),
        facts=SimpleNamespace(classes=4),
    )


def jobs_of(models: str, yardsticks: str = "") -> list[Any]:
    """Two seeds of each model, of one letter."""
    return [
        SimpleNamespace(
            model=m, networks=None, seed=s, network=SimpleNamespace(yardstick=m in yardsticks)
        )
        for m in models
        for s in (0, 1)
    ]


def test_chance_is_among_the_classes_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    space, task = WeightSpace.mlp([1, 2, 1]), Classify()
    data = replace(TaskData.blank(space, task, 4, UNKNOWN), target=torch.tensor([1, 3]))
    told = SimpleNamespace(output=task.output(data).as_dict())
    monkeypatch.setattr(results, "read", lambda store, job: told)
    assert report.chance_of(run_of(task, None)) == 1 / 2


@pytest.mark.parametrize(("task", "good", "bad"), [(Classify(), 0.9, 0.2), (Regress(), 0.2, 0.9)])
def test_the_best_is_never_one_that_is_no_number(task: Task, good: float, bad: float) -> None:
    jobs = jobs_of("abc")
    scores = {"a": [NAN, good], "b": [bad, bad], "c": [bad, good]}
    found = [Row(m, None, {}, values, 1, 1.0, [], []) for m, values in scores.items()]
    row, job = best_of(run_of(task, *jobs), found)
    assert (row.model, job.model, job.seed) == ("c", "c", 1)
    assert best_of(run_of(task, *jobs), found[:1])[1].seed == 1


def test_what_has_learned_nothing_is_no_best_model() -> None:
    jobs = jobs_of("ab", yardsticks="a")
    found = [Row(m, None, {}, [value] * 2, 1, 1.0, [], []) for m, value in (("a", 0.9), ("b", 0.5))]
    assert best_of(run_of(Classify(), *jobs), found)[0].model == "b"
    assert best_of(run_of(Classify(), *jobs), found[:1])[0].model == "a"


def test_a_model_is_not_chosen_for_a_score_that_is_no_number(
    reported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = results.read_at

    def first_is_nan(store: Store, folder: str) -> Any:
        settings, result = read(store, folder)
        value = NAN if "-seed0-" in folder else 0.1
        return settings, replace(result, history=[{"val_accuracy": value}], best_epoch=1)

    monkeypatch.setattr(results, "read_at", first_is_nan)
    found = model_below(Store(str(reported)), "tiny-mlp")
    assert found is not None
    assert "-seed1-" in found[1]


@pytest.mark.parametrize("fails", [True, False])
def test_a_report_leaves_the_run_of_the_training_as_it_was(
    fails: bool, reported: Path, tiny: Path, dwszoo: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")

    def parents() -> list[tuple[str, str, int]]:
        found = client.search_runs([experiment.experiment_id])
        runs = [r.info for r in found if "mlflow.parentRunId" not in r.data.tags]
        return [(info.run_id, info.status, info.end_time) for info in runs]

    def broken(*arguments: Any) -> str:
        raise ModelError("no page")

    before = parents()
    if fails:
        monkeypatch.setattr("pipeline.views.champion.register_best", broken)
    options = (tiny, "--root", reported, "--engine", "local", "--register")
    assert dwszoo("report", *options)[0] == int(fails)
    assert [status for _, status, _ in before] == ["FINISHED"]
    assert parents() == before


def test_configs_of_classifiers_are_known_by_the_columns_of_their_zoos() -> None:
    from pipeline.zoo_facts import configs_with

    raw = {"c": {"source": {}, "zoo": {"fit": {"kind": "classifier", "classes": "pairs"}}}}
    assert configs_with((RUN_STEPS, "class_a"), raw) == ["c"]
