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
from training.search.ledger import Ledger, Trial
from training.search.plan import Plan
from training.search.ray_trial import Bench
from training.search.ray_tune import EPOCH, LAST, RECORDS, TRIAL, _Watcher, search
from training.search.sampler import Sampler
from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Params, Range, Space
from training.search.work import TrialCheckpoints, Work, train_trial
from training.tasks import TaskData
from zoo_gen import (
    ConfigError,
    Digits,
    EngineError,
    Recipe,
    Signals,
    StorageError,
    Store,
    TrainingError,
)
from zoo_gen.recipe.recipe import Fit, Split, Zoo

ACCURACY = Objective("val_accuracy", greater=True)
RATE = Dimension(("rate",), Range(log_uniform=(1e-4, 1e-1)), default=3e-3)
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
    """Runs searches on one root; what became of each trial is in ``told``."""

    def __init__(self, root: Store, folder: str) -> None:
        self.root, self.folder = root, folder
        self.told: dict[int, tuple[Trial, list[dict[str, float]]]] = {}

    def __call__(
        self, make: Any, settings: Tuning, space: Space = SPACE, epochs: int = 3, **bench: Any
    ) -> list[Trial]:
        sampler = Sampler(space, ACCURACY, settings.method == "optuna", settings.seed)
        ledger = Ledger(self.root, self.folder)
        plan = Plan(ledger, sampler, settings.budget, settings.minutes)
        told = Bench(
            self.root,
            self.folder,
            make,
            ACCURACY,
            settings.method == "population",
            cpus=settings.cpus,
            **bench,
        )
        search(plan, told, space, settings, epochs, self._tell)
        return ledger.read()

    def _tell(self, trial: Trial, records: list[dict[str, float]]) -> None:
        assert trial.number not in self.told, "told twice"
        self.told[trial.number] = (trial, records)


@pytest.fixture(scope="module", autouse=True)
def _travelling() -> Iterator[None]:
    """What is made here goes to workers as it is: they cannot import this file."""
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
    assert [trial for trial, _ in searches.told.values()] != []
    assert all("train_loss" in r for _, records in searches.told.values() for r in records)


def test_a_trial_learns_as_it_would_alone(searches: Searches, job: Any, data: TaskData) -> None:
    from training import loop

    (trial,) = searches(Rates(job()), Tuning(method="random", trials=1))
    alone = replace(job().training, learning_rate=trial.params["rate"])
    history = loop.train(job().network, data, alone, 0).history
    assert trial.curve == tuple((e, r["val_accuracy"]) for e, r in enumerate(history, start=1))


def test_a_trial_that_fails_tells_why_and_the_search_goes_on(searches: Searches, job: Any) -> None:
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


def test_an_interrupted_trial_goes_on_under_its_number(searches: Searches, job: Any) -> None:
    ledger = Ledger(searches.root, searches.folder)
    ledger.write(Trial(0, {"rate": 0.02}, "done", ((1, 0.5),)))
    ledger.write(Trial(1, {"rate": 0.004}))
    ended = searches(Rates(job()), Tuning(method="random", trials=3))
    assert [t.number for t in ended] == [0, 1, 2]
    assert ended[0].curve == ((1, 0.5),)
    assert (ended[1].params, ended[1].status) == ({"rate": 0.004}, "done")
    assert sorted(searches.told) == [1, 2]


def test_minutes_end_a_search(searches: Searches, job: Any) -> None:
    settings = Tuning(method="random", minutes=0.05)
    ended = searches(Rates(job(epochs=400)), settings, epochs=400)
    assert len(ended) < 50
    assert any(t.status == "stopped" and 0 < len(t.curve) < 400 for t in ended)


def test_a_population_takes_over_what_learns_faster(searches: Searches, job: Any) -> None:
    settings = Tuning(method="population", trials=4, interval=2, cpus=0.5)
    space = Space((Dimension(("rate",), Range(log_uniform=(1e-6, 3e-2))),))
    ended = searches(Rates(job(epochs=8)), settings, space, epochs=8)
    assert [t.status for t in ended] == ["done"] * 4
    assert [len(t.curve) for t in ended] == [8] * 4
    drawn = Sampler(space, ACCURACY, learning=False, seed=0)
    first = [drawn.ask(number) for number in range(4)]
    assert [t.params for t in ended] != first
    assert all(1e-6 <= t.params["rate"] <= 3e-2 for t in ended)


def test_an_interrupted_population_goes_on_with_all_that_its_members_had_learned(
    searches: Searches, job: Any, data: TaskData
) -> None:
    """One had trained 2 epochs of 4, and one all of them, when the first command ended."""
    wanted, ledger = job(epochs=4), Ledger(searches.root, searches.folder)
    before: dict[int, list[float]] = {}

    def begin(number: int, epochs: int) -> None:
        def hear(epoch: int, records: list[dict[str, float]], state: bytes | None) -> None:
            before[number] = [record["val_accuracy"] for record in records]
            if epoch == epochs:
                raise SystemExit

        ledger.write(Trial(number, {"rate": 3e-3 + 1e-3 * number}))
        state = TrialCheckpoints(
            searches.root, ledger.checkpoint(number), wanted, hear, population=True
        )
        with pytest.raises(SystemExit):
            train_trial(wanted, data, state)

    begin(0, epochs=2)
    begin(1, epochs=4)
    ended = searches(Rates(wanted), Tuning(method="population", trials=2, interval=9), epochs=4)
    assert [(t.status, len(t.curve)) for t in ended] == [("done", 4)] * 2
    assert [[value for _, value in ended[n].curve[: len(before[n])]] for n in (0, 1)] == [
        before[0],
        before[1],
    ]
    assert [len(records) for _, records in searches.told.values()] == [4, 4]


def test_workers_may_share_a_trial(searches: Searches, job: Any) -> None:
    settings = Tuning(method="random", trials=1, at_once=1)
    (trial,) = searches(Rates(job(epochs=2)), settings, epochs=2, workers=2)
    assert (trial.status, trial.reason, len(trial.curve)) == ("done", "", 2)


def test_a_trial_that_asks_for_more_than_there_is_is_refused(root: Store, ray_session: int) -> None:
    bench = Bench(root, "x", Rates, ACCURACY, cpus=3.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^tune.cpus: got 3, but there are 2 here"):
        bench.require_room()
    with pytest.raises(ConfigError, match=r"^tune.gpus: got 0.5, but there are 0 here"):
        replace(bench, cpus=1.0, gpus=0.5).require_room()


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
    views = Dimension(("views",), Range(choice=(1, 2)))
    make = Zoos(job(), Recipe.of("made", Digits(), signals, zoo), signals)
    settings = Tuning(method="random", trials=6, cpus=0.5, seed=1)
    ended = searches(make, settings, Space((RATE, views)))
    assert [(t.status, t.reason) for t in ended] == [("done", "")] * 6
    assert {t.params["views"] for t in ended} == {1, 2}
    published = (tmp_path / "published").read_text().splitlines()
    shards = [path for path in published if path.endswith(".parquet")]
    assert len(shards) == len(set(shards)) == 2 + 4


@pytest.fixture
def plan(root: Store, request: Any) -> Plan:
    """A plan of two trials, none of which has begun."""
    ledger = Ledger(root, f"searches/{request.node.name}")
    return Plan(ledger, Sampler(SPACE, ACCURACY, False, 0), 2)


def begun(plan: Plan, status: str) -> Any:
    """The next trial, as Ray Tune has it."""
    trial = plan.next()
    assert trial is not None
    config = {TRIAL: {"number": trial.number, "params": trial.params}}
    return SimpleNamespace(config=config, status=status, last_result=None)


def test_an_end_that_tune_tells_twice_counts_once(plan: Plan) -> None:
    told: list[Trial] = []
    watcher = _Watcher(plan, ACCURACY, lambda trial, records: told.append(trial), lambda: None)
    trial = begun(plan, "TERMINATED")
    trial.last_result = {EPOCH: 1, RECORDS: [{"val_accuracy": 0.5}], LAST: True}
    watcher.on_trial_result(1, [], trial, trial.last_result)
    watcher.on_trial_complete(1, [], trial)
    watcher.on_trial_error(1, [], trial)
    assert [(t.status, t.curve) for t in told] == [("done", ((1, 0.5),))]


def test_a_member_that_became_another_has_the_past_of_that_one(plan: Plan) -> None:
    told: list[Trial] = []
    watcher = _Watcher(plan, ACCURACY, lambda trial, records: told.append(trial), lambda: None)
    member = begun(plan, "RUNNING")

    def hears(*values: float) -> None:
        records = [{"val_accuracy": value} for value in values]
        member.last_result = {EPOCH: len(values), RECORDS: records, LAST: len(values) == 3}
        watcher.on_trial_result(1, [], member, member.last_result)

    hears(0.95)
    hears(0.95, 0.1)
    member.config[TRIAL] = {**member.config[TRIAL], "params": {"rate": 0.01}}
    hears(0.6, 0.7, 0.72)
    watcher.on_trial_complete(1, [], member)
    assert [(t.params["rate"], t.best(ACCURACY)) for t in told] == [(0.01, 0.72)]
    assert told[0].curve == ((1, 0.6), (2, 0.7), (3, 0.72))


def test_a_trial_that_tune_gives_up_without_a_word_ends_the_search(plan: Plan) -> None:
    watcher = _Watcher(plan, ACCURACY, lambda trial, records: None, lambda: None)
    told, lost = begun(plan, "ERROR"), begun(plan, "ERROR")
    watcher.on_trial_error(1, [], told)
    watcher.on_step_begin(2, [told])
    assert watcher.failure is None
    watcher.on_step_begin(3, [told, lost])
    assert isinstance(watcher.failure, EngineError)
    assert str(watcher.failure).startswith("Ray Tune gave up trial 1: ")
    assert not plan.trials[1].ended  # so that it goes on next time


def test_an_end_that_cannot_be_kept_ends_the_search_with_its_reason(
    searches: Searches, job: Any
) -> None:
    def full(trial: Trial, records: list[dict[str, float]]) -> None:
        raise StorageError("the disk is full")

    searches._tell = full  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="the disk is full"):
        searches(Rates(job()), Tuning(method="random", trials=50))
    assert len(Ledger(searches.root, searches.folder).read()) < 50
