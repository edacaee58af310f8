"""A search whose command is interrupted and killed: it ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import ENVIRONMENT, until

from training.search.trials import Trial, TrialStore
from training.tracking.store import client_of
from zoo_gen import Store

TRIALS = 4
CONFIG = f"""
name: tiny
description: eighty digits
source: {{kind: digits}}
limit: 80
zoo:
  fit: {{widths: [2, 6, 1], init: paper, w0: 3.0, steps: 5, learning_rate: 0.01}}
  split: {{train: 7, val: 1, test: 2}}
models:
  mlp:
    network: {{kind: mlp, hidden: [8]}}
    training: {{epochs: 400, learning_rate: {{log_uniform: [1.0e-4, 1.0e-1]}}}}
seeds: [0]
tune: {{trials: {TRIALS}, method: random}}
"""


@dataclass
class Command:
    """`dwszoo tune` in processes of its own, one after the other."""

    folder: Path
    running: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        (self.folder / "tiny.yaml").write_text(CONFIG)
        command = ["-m", "pipeline", "tune", str(self.folder / "tiny.yaml"), "--root", self.root]
        self.running = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # a test suite in the background ignores Ctrl-C, and so would what it starts
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        return self.running

    @property
    def root(self) -> str:
        return str(self.folder / "root")

    @property
    def records(self) -> TrialStore:
        store = Store(self.root)
        (name,) = store.names("searches") or ["none"]
        return TrialStore(store, f"searches/{name}")

    def trials(self, ended: bool) -> list[Trial]:
        return [trial for trial in self.records.read() if trial.ended == ended]

    def saved(self) -> list[int]:
        """Numbers of the running trials that have a state."""
        store, running = self.records.store, self.trials(ended=False)
        return [t.number for t in running if store.exists(self.records.checkpoint(t.number))]

    def reaches(self, trials: int) -> Callable[[], bool]:
        """Whether so many have ended, and another one has a state."""
        return lambda: len(self.trials(ended=True)) >= trials and bool(self.saved())


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    found = Command(tmp_path)
    yield found
    if found.running is not None and found.running.poll() is None:
        found.running.kill()
        found.running.communicate()


def test_a_search_that_was_interrupted_and_killed_ends_with_every_trial_once(
    command: Command,
) -> None:
    ended: list[Trial] = []
    for trials, how, code in ((1, signal.SIGINT, 130), (2, signal.SIGKILL, -signal.SIGKILL)):
        process = command.start()
        until(command.reaches(trials), f"{trials} trials and a state", 200)
        process.send_signal(how)
        _, said = process.communicate(timeout=90)
        assert process.returncode == code, said
        assert all(trial in command.trials(ended=True) for trial in ended)
        ended = command.trials(ended=True)
        assert command.saved()

    going = {trial.number: trial.params for trial in command.trials(ended=False)}
    process = command.start()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert f"{len(ended)} trials are finished, {len(going)} continue where they stopped" in said
    after = {trial.number: trial for trial in command.trials(ended=True)}
    assert sorted(after) == list(range(TRIALS))
    assert all(after[trial.number] == trial for trial in ended)
    assert all(after[number].params == params for number, params in going.items())
    assert all(len(trial.curve) == 400 for trial in after.values())
    assert tracked(command) == list(range(TRIALS))


def tracked(command: Command) -> list[int]:
    """Numbers of the children in MLflow."""
    client = client_of(f"sqlite:///{command.root}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment])
    return sorted(int(run.data.tags["trial"]) for run in runs if "trial" in run.data.tags)
