"""Whatever dies while a model is trained: it ends as if nothing had."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from harness import ENVIRONMENT, HERE, Tell, until
from safetensors.torch import load
from servers import Mlflow, Moto, environment
from slow_model import Slow, next_step, steps

from training import results
from training.jobs import TrainingJob
from training.settings import Training
from training.tracking import Tracking
from zoo_gen import Digits, Fit, LocalEngine, Recipe, Split, Store, Zoo
from zoo_gen.make.generate import generate

EPOCHS, STEPS = 80, 320  # 84 training networks in batches of 21
HOLD = STEPS // 2  # where a training waits until the test has struck
FIT = Fit((2, 6, 5, 1), w0=3.0, init="paper", steps=20, learning_rate=0.01)
SIGNALS = Digits().load().limited(60)
RECIPE = Recipe.of("slow", Digits(), SIGNALS, Zoo(FIT, Split(70, 15, 15), 2, rows_per_shard=128))


@dataclass
class Training_:
    """One training in processes of its own.

    Attributes:
        folder: of the test.
        root: of the store.
        tracking: where its run is.
    """

    folder: Path
    root: str
    tracking: Tracking
    processes: list[subprocess.Popen[bytes]]

    @property
    def job(self) -> TrainingJob:
        network: Any = Slow(folder=str(self.traces), hold=HOLD)
        settings = Training(epochs=EPOCHS, batch_size=21)
        return TrainingJob("slow", "slow", network, settings, 0, RECIPE.folder)

    @property
    def traces(self) -> Path:
        folder = self.folder / "traces"
        folder.mkdir(exist_ok=True)
        return folder

    def go(self) -> None:
        """Let it end: without, it waits in the middle."""
        Path(f"{self.traces}.go").touch()

    def start(self, where: str = "ray", workers: int = 1) -> subprocess.Popen[bytes]:
        file = self.folder / "jobs.pickle"
        file.write_bytes(pickle.dumps(([self.job], self.tracking)))
        command = [sys.executable, str(HERE / "slow_model.py"), str(file), self.root, where]
        with open(self.words, "ab") as words:
            self.processes.append(
                subprocess.Popen(
                    [*command, str(workers)], env={**os.environ, **ENVIRONMENT}, stderr=words
                )
            )
        return self.processes[-1]

    @property
    def words(self) -> Path:
        """Where its processes write what they say."""
        return self.folder / "words.txt"

    def ends(self, process: subprocess.Popen[bytes], seconds: float = 400) -> None:
        """Wait for a process that must end well."""
        process.wait(timeout=seconds)
        assert process.returncode == 0, self.words.read_text()

    def weights(self) -> dict[str, torch.Tensor]:
        return load(Store(self.root).read(f"{self.job.folder}/model.safetensors"))

    def epochs(self) -> list[int]:
        """Every logged step of the run, as often as it was logged."""
        from mlflow import MlflowClient

        run = self.tracking.find(self.job.hash8, finished=True)
        assert run is not None
        history = MlflowClient(self.tracking.uri).get_metric_history(run, "train_loss")
        return sorted(m.step for m in history)


Train = Callable[..., Training_]


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Train]:
    """Makes a training on a zoo of its own root, tracked in SQLite unless told otherwise."""
    made: list[Training_] = []

    def make(name: str = "one", root: str = "", uri: str = "") -> Training_:
        folder = tmp_path / name
        folder.mkdir()
        root = root or str(folder / "root")
        generate(Store(root), RECIPE, SIGNALS, LocalEngine())
        uri = uri or f"sqlite:///{folder}/mlflow.db"
        artifacts = None if uri.startswith("http") else folder / "mlartifacts"
        tracking = Tracking.connect(uri, name, artifacts).with_parent(name, name, {}, "")
        made.append(Training_(folder, root, tracking, []))
        return made[-1]

    yield make
    for one in made:
        for process in one.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of the same training without trouble, in this process."""
    from training.local_engine import train_locally

    folder = tmp_path_factory.mktemp("undisturbed")
    store = Store(str(folder / "root"))
    generate(store, RECIPE, SIGNALS, LocalEngine())
    tracking = Tracking.connect(f"sqlite:///{folder}/mlflow.db", "u", folder / "mlartifacts")
    one = Training_(folder, store.root, tracking.with_parent("u", "u", {}, ""), [])
    one.go()
    train_locally(store, [one.job], one.tracking, lambda *_: None)
    return one.weights()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Ray Train workers below a driver."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [p for p in family if "RayTrainWorker" in " ".join(p.cmdline())]


def checkpointed(one: Training_) -> bool:
    """Whether its state has been saved."""
    return f"{one.job.hash8}.pt" in Store(one.root).names("checkpoints")


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a driver, and the end of whatever it had started."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    for left in alive:
        with suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(alive, timeout=20)


def told(one: Training_, made: int) -> str:
    """The words for the table."""
    return f"{made} steps for {STEPS}, {len(one.epochs())} of {EPOCHS} epochs in MLflow"


LOST = "nothing: no epoch, the same weights"


def test_a_killed_worker_of_two(training: Train, undisturbed: Any, tell: Tell) -> None:
    one = training()
    process = one.start(workers=2)
    until(lambda: steps(one.traces) >= 2 * HOLD and checkpointed(one), "half of the steps")
    workers_of(process)[0].send_signal(signal.SIGKILL)
    one.go()
    killed, before = time.time(), steps(one.traces)
    one.ends(process)
    assert steps(one.traces) - before < 2 * STEPS  # they went on, not from the start
    assert one.epochs() == list(range(1, EPOCHS + 1))
    assert same(one.weights(), undisturbed)
    again = next_step(one.traces, killed + 1)
    made = told(one, steps(one.traces) // 2)
    tell("SIGKILL of one of two Ray Train workers", made, killed, again, LOST)


def test_a_killed_worker(training: Train, undisturbed: Any, tell: Tell) -> None:
    one = training()
    process = one.start()
    until(lambda: steps(one.traces) >= HOLD and checkpointed(one), "half of the steps")
    (worker,) = (int(trace.name) for trace in one.traces.iterdir())
    os.kill(worker, signal.SIGKILL)
    one.go()
    killed, before = time.time(), steps(one.traces)
    one.ends(process)
    assert steps(one.traces) - before < STEPS  # it went on, not from the start
    assert one.epochs() == list(range(1, EPOCHS + 1))
    assert same(one.weights(), undisturbed)
    assert not Store(one.root).names("checkpoints")
    again = next_step(one.traces, killed)
    made = told(one, steps(one.traces))
    tell("SIGKILL of the worker of a training", made, killed, again, LOST)


def test_a_killed_command_without_ray(training: Train, undisturbed: Any, tell: Tell) -> None:
    one = training()
    process = one.start("plain")
    until(lambda: steps(one.traces) >= HOLD, "half of the steps")
    kill(process)
    one.go()
    before, again = steps(one.traces), time.time()
    one.ends(one.start("plain"))
    assert steps(one.traces) - before < STEPS  # it went on, not from the start
    assert one.epochs() == list(range(1, EPOCHS + 1))
    assert same(one.weights(), undisturbed)
    assert not Store(one.root).names("checkpoints")
    after = next_step(one.traces, again)
    made = told(one, steps(one.traces))
    tell("SIGKILL of a training without Ray, the same command again", made, again, after, LOST)


def test_a_killed_driver_with_everything_on_s3(
    moto: Moto, training: Train, undisturbed: Any, monkeypatch: Any, tell: Tell
) -> None:
    from s3fs import S3FileSystem

    for name, value in environment(moto.port).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    one = training(root="s3://zoo/training")
    process = one.start()
    until(lambda: steps(one.traces) >= HOLD and checkpointed(one), "half of the steps")
    kill(process)
    one.go()
    before, again = steps(one.traces), time.time()
    one.ends(one.start())
    assert steps(one.traces) - before < STEPS  # it went on, not from the start
    assert one.epochs() == list(range(1, EPOCHS + 1))
    assert same(one.weights(), undisturbed)
    assert results.done(Store(one.root), one.job)
    assert not Store(one.root).names("checkpoints")
    after = next_step(one.traces, again)
    made = told(one, steps(one.traces))
    tell(
        "SIGKILL of the driver of a training on S3, the same command again",
        made,
        again,
        after,
        LOST,
    )


def test_mlflow_gone_for_a_while_loses_nothing(
    training: Train, undisturbed: Any, tmp_path: Path, tell: Tell
) -> None:
    server = Mlflow(tmp_path, str(tmp_path / "artifacts"))
    try:
        one = training(uri=f"http://127.0.0.1:{server.port}")
        process = one.start("plain")
        until(lambda: steps(one.traces) > 20, "some epochs")
        server.kill()
        until(lambda: "the training goes on" in one.words.read_text(), "a word of it")
        one.go()
        down = steps(one.traces)
        until(lambda: steps(one.traces) > down + 40, "ten more epochs without MLflow")
        server.start()
        one.ends(process)
        assert one.epochs() == list(range(1, EPOCHS + 1))
        assert same(one.weights(), undisturbed)
        made = told(one, steps(one.traces))
        tell("SIGKILL of MLflow's server, back after ten epochs", made, lost=LOST)
    finally:
        server.kill()
