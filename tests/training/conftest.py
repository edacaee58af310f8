"""A small zoo with learnable labels, a root around it, and jobs on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from training.augmentation import Augmentation
from training.jobs import TrainingJob
from training.loop import State
from training.models import DwsNetwork, MlpNetwork
from training.settings import Training
from training.tasks import TaskData, load
from training.tracking import Tracking
from zoo_gen import (
    Digits,
    Fit,
    LocalEngine,
    Recipe,
    Split,
    Store,
    Zoo,
    ZooReader,
    generate,
)

FIT = Fit((2, 8, 8, 1), w0=3.0, init="paper", steps=40, learning_rate=0.02)
ZOO = Zoo(FIT, Split(70, 15, 15), views=2, rows_per_shard=64)
MlpJob = Callable[..., TrainingJob]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A root with a zoo of 240 networks."""
    store = Store(str(tmp_path_factory.mktemp("root")))
    generate(store, zoo_recipe(), Digits().load().limited(120), LocalEngine())
    return store


def zoo_recipe() -> Recipe:
    return Recipe.of("tiny", Digits(), Digits().load().limited(120), ZOO)


@pytest.fixture(scope="session")
def data(root: Store) -> TaskData:
    return load(ZooReader(root, zoo_recipe().folder))


@pytest.fixture(scope="session")
def job() -> MlpJob:
    """Makes jobs on the zoo: ``job(seed=1, epochs=2)``."""

    def make(
        kind: str = "mlp", seed: int = 0, permutation: bool = False, **training: Any
    ) -> TrainingJob:
        network = MlpNetwork(hidden=(16,)) if kind == "mlp" else DwsNetwork(hidden_channels=4)
        augment = Augmentation(permutation=permutation)
        settings = Training(**{"epochs": 3, "batch_size": 50, "augment": augment, **training})
        return TrainingJob("tiny", kind, network, settings, seed, zoo_recipe().folder)

    return make


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    """An embedded MLflow store of this test alone."""
    store = Tracking.connect(f"sqlite:///{tmp_path}/mlflow.db", "tests", tmp_path / "mlartifacts")
    return store.with_parent("parent", "parentkey", {"a": 1}, "config: text")


@dataclass
class Memory:
    """Checkpoints in memory, which may interrupt the training after some epoch."""

    interrupt_after: int | None = None
    state: State | None = None
    saved: list[int] = field(default_factory=list)

    def load(self) -> State | None:
        return self.state

    def save(self, state: State | None) -> None:
        import copy

        assert state is not None
        self.state = copy.deepcopy(state)
        self.saved.append(len(state["history"]))
        if len(state["history"]) == self.interrupt_after:
            self.interrupt_after = None
            raise KeyboardInterrupt

    def remove(self) -> None:
        pass


@pytest.fixture
def memory() -> type[Memory]:
    return Memory


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[[], list[str]]:
    """What was logged so far, by a process that has logged nothing before."""
    monkeypatch.setattr("zoo_gen.log._logged", set())
    return lambda: [record.getMessage() for record in caplog.records]
