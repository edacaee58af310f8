"""One trial in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training import loop
from training.checkpoints import encode_state
from training.jobs import TrainingJob
from training.loop import State
from training.search.work import TrialCheckpoints, train_trial, with_settings
from training.tasks import TaskData
from zoo_gen import Store


class Heard:
    """What a search hears; it may stop the trial after some epoch, as Ray does."""

    def __init__(self, stop_after: int = 99) -> None:
        self.stop_after = stop_after
        self.epochs: list[int] = []
        self.records: list[dict[str, float]] = []
        self.lengths: list[int] = []
        self.states: list[bytes | None] = []

    def __call__(self, epoch: int, records: list[dict[str, float]], state: bytes | None) -> None:
        self.epochs.append(epoch)
        self.records.append(records[-1])
        self.lengths.append(len(records))
        self.states.append(state)
        if epoch == self.stop_after:
            raise SystemExit


def kept(store: Store, job: TrainingJob, heard: Heard, **more: Any) -> TrialCheckpoints:
    return TrialCheckpoints(store, "trial.pt", job, heard, **{"every": 0.0, **more})


def values(heard: Heard) -> list[tuple[float, float]]:
    return [(record["val_accuracy"], record["val_loss"]) for record in heard.records]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_trial_learns_nothing_of_test_data(data: TaskData, job: Any, store: Store) -> None:
    """Networks of the test split whose weights are no numbers change no epoch."""
    theta = data.theta.clone()
    theta[data.rows["test"]] = torch.nan
    plain, poisoned = Heard(), Heard()
    train_trial(job(), data, kept(store, job(), plain))
    store.remove("trial.pt")
    train_trial(job(), replace(data, theta=theta), kept(store, job(), poisoned))
    assert values(poisoned) == values(plain)


def test_a_trial_evaluates_validation_networks_alone(
    data: TaskData, job: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated, evaluate = [], loop.evaluate

    def noted(model: Any, data: TaskData, split: str, device: str) -> Any:
        evaluated.append(split)
        return evaluate(model, data, split, device)

    monkeypatch.setattr(loop, "evaluate", noted)
    train_trial(job(), data, kept(store, job(), Heard()))
    assert set(evaluated) == {"val"}


def test_an_interrupted_trial_ends_as_if_it_had_not_been(
    data: TaskData, job: Any, store: Store
) -> None:
    whole, first, second = Heard(), Heard(stop_after=2), Heard()
    wanted = job(epochs=5)
    train_trial(wanted, data, kept(Store(f"{store.root}/other"), wanted, whole))
    with pytest.raises(SystemExit):
        train_trial(wanted, data, kept(store, wanted, first))
    train_trial(wanted, data, kept(store, wanted, second))
    assert values(second) == values(whole)


def test_the_search_hears_of_earlier_epochs_again(data: TaskData, job: Any, store: Store) -> None:
    second = Heard()
    with pytest.raises(SystemExit):
        train_trial(job(epochs=4), data, kept(store, job(epochs=4), Heard(stop_after=2)))
    train_trial(job(epochs=4), data, kept(store, job(epochs=4), second))
    assert second.epochs == [1, 2, 3, 4]


@pytest.mark.parametrize(("interrupted", "told"), [(2, [2, 3, 4]), (4, [4])])
def test_a_search_that_begins_anew_hears_of_all_epochs_of_a_member(
    data: TaskData, job: Any, store: Store, interrupted: int, told: list[int]
) -> None:
    """Each report has the whole past of the model; the first one a state to go on from."""
    wanted, second = job(epochs=4), Heard()
    with pytest.raises(SystemExit):
        train_trial(wanted, data, kept(store, wanted, Heard(interrupted), population=True))
    train_trial(wanted, data, kept(store, wanted, second, population=True))
    assert second.epochs == second.lengths == told
    assert second.states[0] is not None


def test_a_member_that_is_handed_a_state_tells_of_its_next_epoch(
    data: TaskData, job: Any, store: Store
) -> None:
    """To tell of the last one again would be another turn, and a population might never go on."""
    wanted, first, second = job(epochs=4), Heard(stop_after=2), Heard()
    with pytest.raises(SystemExit):
        train_trial(wanted, data, kept(store, wanted, first, population=True))
    train_trial(wanted, data, kept(store, wanted, second, taken=first.states[-1], population=True))
    assert second.epochs == second.lengths == [3, 4]


def test_the_state_is_not_written_more_often_than_asked(
    data: TaskData, job: Any, store: Store
) -> None:
    heard = Heard()
    train_trial(job(), data, kept(store, job(), heard, every=1000.0))
    assert not store.exists("trial.pt")
    assert heard.epochs == [1, 2, 3]


class Kept:
    """Keeps the last state."""

    def __init__(self) -> None:
        self.state: State = {}

    def load(self) -> State | None:
        return None

    def save(self, state: State | None) -> None:
        assert state is not None
        self.state = state


def test_a_member_of_a_population_goes_on_with_anothers_weights_and_its_own_settings(
    data: TaskData, job: Any, store: Store
) -> None:
    from training import loop

    donor, keeper = job(epochs=4, learning_rate=0.01), Kept()
    loop.train(donor.network, data, donor.training, 0, keeper)
    state = encode_state(keeper.state, donor)
    mine = job(epochs=4, learning_rate=0.002, weight_decay=0.5)
    found = kept(store, mine, Heard(), taken=state, population=True).load()
    assert found is not None
    group = found["optimizer"]["param_groups"][0]
    assert (group["initial_lr"], group["weight_decay"]) == (0.002, 0.5)
    assert found["schedule"]["base_lrs"] == [0.002]
    weights = zip(found["model"].values(), keeper.state["model"].values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_rate_of_the_next_step_is_scaled_with_the_peak(data: TaskData, job: Any) -> None:
    from training import loop

    keeper, settings = Kept(), job(epochs=8, learning_rate=0.01).training
    with pytest.raises(KeyboardInterrupt):
        loop.train(job().network, data, settings, 0, keeper, stop_at(4))
    before = keeper.state["optimizer"]["param_groups"][0]["lr"]
    changed = with_settings(keeper.state, replace(settings, learning_rate=0.02))
    assert changed["optimizer"]["param_groups"][0]["lr"] == pytest.approx(2 * before)


def stop_at(last: int) -> Any:
    def stop(epoch: int, record: dict[str, float]) -> None:
        if epoch == last:
            raise KeyboardInterrupt

    return stop
