"""One trial in one process: train on the validation split's word alone, resume where it stopped."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from training import loop
from training.checkpoints import decode_state, encode_state
from training.jobs import TrainingJob
from training.loop import State
from training.search.space import Params
from training.settings import Training
from training.tasks import TaskData
from zoo_gen import Recipe, Signals, Store

SAVE_SECONDS = 2.0
SAVE_SHARE = 20  # saving takes at most one part in so many of the time
Report = Callable[[int, list[dict[str, float]], bytes | None], None]
"""Told of each epoch, from 1: its record, and the state after it where the search needs it.

A member of a population, which may have become another one, tells the records of all epochs that
its model has behind it. Every worker of a trial calls; others than the first tell no record."""


@dataclass(frozen=True)
class Work:
    """What one trial trains.

    Attributes:
        job: network, training, seed and zoo.
        recipe: of the zoo, where the search changes it: it may have to be made first.
        signals: that it is fitted to; None with ``recipe``.
    """

    job: TrainingJob
    recipe: Recipe | None = None
    signals: Signals | None = None


class Make(Protocol):
    """Makes the work of a trial. Travels to workers."""

    def __call__(self, params: Params) -> Work:
        """The config's job with these values.

        Raises:
            ConfigError: values that do not go together.
        """
        ...


@dataclass
class TrialCheckpoints:
    """The state of a trial in one file of a store; tells the search of each epoch on the way.

    Attributes:
        store: the root.
        path: of the file below it.
        job: of the trial.
        report: told of each epoch. It does not return if the search stops the trial.
        taken: the state of a member of a population that this one goes on from, else None.
        population: whether states travel between trials, and settings change with them.
        every: seconds between two writes of the file, at least.
    """

    store: Store
    path: str
    job: TrainingJob
    report: Report
    taken: bytes | None = None
    population: bool = False
    every: float = SAVE_SECONDS
    told: int = 0

    def __post_init__(self) -> None:
        self.due = time.monotonic() + self.every

    def load(self) -> State | None:
        """What this trial, or the one it takes over from, had come to.

        A search that was begun anew has forgotten the trial's earlier epochs and hears of them
        again. One that hands a state over has not; to hear twice of an epoch of a population, it
        would take for another turn of that member.
        """
        data = self.taken
        if data is None and self.store.exists(self.path):
            data = self.store.read(self.path)
        if data is None:
            return None
        state = _any_state(data) if self.population else decode_state(data, self.job)
        if state is None:
            return None
        history = state["history"]
        self.told = len(history)
        if self.population:
            if self.taken is None:
                self.report(self.told, history, data)
            return with_settings(state, self.job.training)
        for epoch, record in enumerate(history, start=1):
            self.report(epoch, [record], None)
        return state

    def save(self, state: State | None) -> None:
        """Tell of the epoch, and write the file if it is old."""
        self.told += 1
        if state is None:  # a worker other than the first
            self.report(self.told, [], None)
            return
        data, began = None, time.monotonic()
        if self.population or began >= self.due:
            data = encode_state(state, self.job)
            self.store.publish(self.path, data)
            now = time.monotonic()
            self.due = now + max(self.every, SAVE_SHARE * (now - began))
        history = state["history"]
        self.report(self.told, history if self.population else history[-1:], data)


def train_trial(
    job: TrainingJob, data: TaskData, checkpoints: TrialCheckpoints, device: str = "cpu"
) -> None:
    """Train one trial; each epoch's record goes to ``checkpoints.report``.

    Raises:
        DwszooError: what the loop raises.
    """
    loop.train(job.network, data, job.training, job.seed, checkpoints, device=device, last="val")


def with_settings(state: State, training: Training) -> State:
    """A training's state that goes on with another learning rate and weight decay."""
    schedule, groups = state["schedule"], state["optimizer"]["param_groups"]
    before = schedule["base_lrs"]
    for group, base in zip(groups, before, strict=True):
        group["lr"] *= training.learning_rate / base
        group["initial_lr"] = training.learning_rate
        group["weight_decay"] = training.weight_decay
    schedule["base_lrs"] = [training.learning_rate] * len(before)
    schedule["_last_lr"] = [group["lr"] for group in groups]
    return state


def _any_state(data: bytes) -> State:
    """A state, of whatever job."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    del state["job"]
    return state
