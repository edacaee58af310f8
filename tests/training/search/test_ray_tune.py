"""Searches on Ray."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from training.jobs import TrainingJob
from training.search.queue import TrialQueue
from training.search.ray_tune import _Watcher, scheduler, search
from training.search.ray_worker import EPOCH, LAST, RECORD, SCORE, TRIAL, TrialRunner, Work
from training.search.sampler import Sampler
from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Params, Space
from training.search.trials import Trial, TrialStore
from training.tasks import TaskData
from zoo_gen import (
    ConfigError,
    Digits,
    Draw,
    EngineError,
    Recipe,
    Signals,
    StorageError,
    Store,
    TrainingError,
)
from zoo_gen.recipe.recipe import Fit, Split, Zoo

ACCURACY = Objective("val_accuracy", greater=True)
RATE = Dimension(("rate",), Draw(log_uniform=(1e-4, 1e-1)), default=3e-3)
SPACE = Space((RATE,))


@dataclass(frozen=True)
class Rates:
    """Work of a given learning rate; above a bound it cannot be made."""

    job: TrainingJob
    bound: float = 1.0

    def __call__(self, params: Params) -> Work:
        if params["rate"] > self.bound:
            raise TrainingError(f"rate: got {params['rate']:.2g}, which is too fast\nmore words")
        training = replace(self.job.training, learning_rate=params["rate"])
        return Work(replace(self.job, training=training))


class Searches:
    """Runs searches on one root; what became of each trial is in ``ended``."""

    def __init__(self, root: Store, folder: str) -> None:
        self.root, self.folder = root, folder
        self.ended: dict[int, tuple[Trial, list[dict[str, float]]]] = {}

    def __call__(
        self,
        work_of: Any,
        settings: Tuning,
        space: Space = SPACE,
        epochs: int = 3,
        workers: int = 1,
    ) -> list[Trial]:
        sampler = Sampler(space, ACCURACY, settings.method == "optuna", settings.seed)
        trials = TrialStore(self.root, self.folder)
        queue = TrialQueue(trials, sampler, settings.budget, settings.minutes)
        runner = TrialRunner(
            self.root, self.folder, work_of, ACCURACY, settings.cpus, workers=workers
        )
        search(queue, runner, settings, epochs, space.default, self.on_end)
        return trials.read()

    def on_end(self, trial: Trial, records: list[dict[str, float]]) -> None:
        assert trial.number not in self.ended, "ended twice"
        self.ended[trial.number] = (trial, records)


@pytest.fixture(scope="module", autouse=True)
def _pickled_by_value() -> Iterator[None]:
    """Workers cannot import this file."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def searches(root: Store, request: Any, ray_session: int) -> Iterator[Searches]:
    folder = f"searches/{request.node.name}"
    yield Searches(root, folder)
    root.remove(folder)


def test_every_trial_ends_with_the_values_that_were_drawn(searches: Searches, job: Any) -> None:
    ended = searches(Rates(job()), Tuning(method="random", trials=4))
    assert [(t.status, len(t.curve)) for t in ended] == [("done", 3)] * 4
    assert ended[0].params == SPACE.default
    assert len({t.params["rate"] for t in ended}) == 4
    assert [trial for trial, _ in searches.ended.values()] != []
    assert all("train_loss" in r for _, records in searches.ended.values() for r in records)


def test_a_trial_learns_as_it_would_alone(searches: Searches, job: Any, data: TaskData) -> None:
    from training import loop

    (trial,) = searches(Rates(job()), Tuning(method="random", trials=1))
    alone = replace(job().training, learning_rate=trial.params["rate"])
    history = loop.train(job().network, data, alone, 0).history
    assert trial.curve == tuple((e, r["val_accuracy"]) for e, r in enumerate(history, start=1))


def test_a_failed_trial_has_a_reason_and_the_search_goes_on(searches: Searches, job: Any) -> None:
    ended = searches(Rates(job(), bound=0.01), Tuning(method="random", trials=6))
    failed = [t for t in ended if t.status == "failed"]
    assert failed
    assert len(failed) < 6
    assert failed[0].reason.startswith("rate: got")
    assert "\n" not in failed[0].reason
    assert [t.status for t in ended if t.params["rate"] <= 0.01].count("done") == 6 - len(failed)


def test_trials_that_fall_behind_are_stopped(searches: Searches, job: Any) -> None:
    settings = Tuning(trials=10, min_epochs=1, reduction=2)
    ended = searches(Rates(job(epochs=8)), settings, epochs=8)
    assert {t.status for t in ended} == {"done", "stopped"}
    assert all(len(t.curve) < 8 for t in ended if t.status == "stopped")


def test_an_interrupted_trial_continues_under_its_number(searches: Searches, job: Any) -> None:
    trials = TrialStore(searches.root, searches.folder)
    trials.write(Trial(0, {"rate": 0.02}, "done", ((1, 0.5),)))
    trials.write(Trial(1, {"rate": 0.004}))
    ended = searches(Rates(job()), Tuning(method="random", trials=3))
    assert [t.number for t in ended] == [0, 1, 2]
    assert ended[0].curve == ((1, 0.5),)
    assert (ended[1].params, ended[1].status) == ({"rate": 0.004}, "done")
    assert sorted(searches.ended) == [1, 2]


def test_minutes_end_a_search(searches: Searches, job: Any) -> None:
    settings = Tuning(method="random", minutes=0.05)
    ended = searches(Rates(job(epochs=400)), settings, epochs=400)
    assert len(ended) < 50
    assert any(t.status == "stopped" and 0 < len(t.curve) < 400 for t in ended)


def test_workers_may_share_a_trial(searches: Searches, job: Any) -> None:
    settings = Tuning(method="random", trials=1, at_once=1)
    (trial,) = searches(Rates(job(epochs=2)), settings, epochs=2, workers=2)
    assert (trial.status, trial.reason, len(trial.curve)) == ("done", "", 2)


def test_a_trial_that_asks_for_more_than_there_is_is_refused(root: Store, ray_session: int) -> None:
    runner = TrialRunner(root, "x", Rates, ACCURACY, cpus=3.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^tune.cpus: got 3, but there are 2 here"):
        runner.require_room()
    with pytest.raises(ConfigError, match=r"^tune.gpus: got 0.5, but there are 0 here"):
        replace(runner, cpus=1.0, gpus=0.5).require_room()


class Counting(Store):
    """A root that notes what is published."""

    def publish(self, path: str, data: bytes) -> None:
        with open(f"{self.root}/published", "a") as file:
            file.write(f"{path}\n")
        super().publish(path, data)


@dataclass(frozen=True)
class Zoos:
    """Work on a zoo of so many views."""

    job: TrainingJob
    recipe: Recipe
    signals: Signals

    def __call__(self, params: Params) -> Work:
        recipe = replace(self.recipe, zoo=replace(self.recipe.zoo, views=params["views"]))
        training = replace(self.job.training, learning_rate=params["rate"])
        return Work(replace(self.job, zoo=recipe.folder, training=training), recipe, self.signals)


def test_trials_that_want_the_same_zoo_make_it_once(
    searches: Searches, job: Any, tmp_path: Path
) -> None:
    searches.root = Counting(str(tmp_path))
    signals = Digits().load().limited(60)
    zoo = Zoo(Fit((2, 6, 1), w0=3.0, init="paper", steps=30), Split(70, 15, 15), rows_per_shard=30)
    views = Dimension(("views",), Draw(choice=(1, 2)))
    make = Zoos(job(), Recipe.of("made", Digits(), signals, zoo), signals)
    settings = Tuning(method="random", trials=6, cpus=0.5, seed=1)
    ended = searches(make, settings, Space((RATE, views)))
    assert [(t.status, t.reason) for t in ended] == [("done", "")] * 6
    assert {t.params["views"] for t in ended} == {1, 2}
    published = (tmp_path / "published").read_text().splitlines()
    shards = [path for path in published if path.endswith(".parquet")]
    assert len(shards) == len(set(shards)) == 2 + 4


@pytest.fixture
def queue(tmp_path: Path) -> TrialQueue:
    """A queue of two trials, none of which has begun."""
    trials = TrialStore(Store(str(tmp_path)), "searches/x")
    return TrialQueue(trials, Sampler(SPACE, ACCURACY, False, 0), 2)


def begun(queue: TrialQueue, status: str) -> Any:
    """The next trial, as Ray Tune has it."""
    trial = queue.next()
    assert trial is not None
    config = {TRIAL: {"number": trial.number, "params": trial.params}}
    return SimpleNamespace(config=config, status=status, last_result=None)


def test_an_end_that_tune_reports_twice_counts_once(queue: TrialQueue) -> None:
    ended: list[Trial] = []
    watcher = _Watcher(queue, lambda trial, records: ended.append(trial), lambda: None)
    trial = begun(queue, "TERMINATED")
    trial.last_result = {EPOCH: 1, RECORD: {"val_accuracy": 0.5}, LAST: True}
    watcher.on_trial_result(1, [], trial, trial.last_result)
    watcher.on_trial_complete(1, [], trial)
    watcher.on_trial_error(1, [], trial)
    assert [(t.status, t.curve) for t in ended] == [("done", ((1, 0.5),))]


def test_a_trial_that_tune_gives_up_silently_ends_the_search(queue: TrialQueue) -> None:
    watcher = _Watcher(queue, lambda trial, records: None, lambda: None)
    failed, lost = begun(queue, "ERROR"), begun(queue, "ERROR")
    watcher.on_trial_error(1, [], failed)
    watcher.on_step_begin(2, [failed])
    assert watcher.failure is None
    watcher.on_step_begin(3, [failed, lost])
    assert isinstance(watcher.failure, EngineError)
    assert str(watcher.failure).startswith("Ray Tune gave up trial 1: ")
    assert not queue.trials[1].ended  # so that it continues next time


def test_an_end_that_cannot_be_recorded_ends_the_search_with_its_reason(
    searches: Searches, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(trial: Trial, records: list[dict[str, float]]) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(searches, "on_end", full)
    with pytest.raises(StorageError, match="the disk is full"):
        searches(Rates(job()), Tuning(method="random", trials=50))
    assert len(TrialStore(searches.root, searches.folder).read()) < 50


GOOD = [Trial(n, {"rate": n / 100}, "done", ((1, 0.8), (2, 0.6))) for n in range(3)]


def decision(ended: list[Trial], value: float, rate: float = 0.05) -> str:
    """ASHA's decision on a new trial with this value after its first epoch."""
    tuning = Tuning(min_epochs=1, reduction=2)
    asha: Any = scheduler(tuning, ACCURACY, 8, SPACE.default, ended)
    assert asha.set_search_properties(SCORE, "max")
    new = SimpleNamespace(trial_id="new", config={TRIAL: {"params": {"rate": rate}}})
    asha.on_trial_add(None, new)
    answer: str = asha.on_trial_result(None, new, {EPOCH: 1, SCORE: value})
    return answer


@pytest.mark.parametrize(
    ("ended", "value", "rate", "expected"),
    [
        (GOOD, 0.7, 0.05, "STOP"),
        (GOOD, 0.9, 0.05, "CONTINUE"),
        ([], 0.1, 0.05, "CONTINUE"),  # the first trial
        (GOOD, 0.1, SPACE.default["rate"], "CONTINUE"),  # the config's own values
    ],
)
def test_a_trial_is_compared_to_those_of_earlier_commands(
    ended: list[Trial], value: float, rate: float, expected: str
) -> None:
    assert decision(ended, value, rate) == expected
