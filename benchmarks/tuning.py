"""What a search costs beside its trials: trials per second, and the driver's memory.

    python benchmarks/tuning.py rate        trials that wait for a second, two and four at once
    python benchmarks/tuning.py memory      500 trials that do not wait

Each trial is one of a real search (`training.search.ray_tune`, on a local Ray of two CPUs): Optuna
draws its values, it trains a small MLP for two epochs on 240 networks, ASHA looks at it, its record
is published and it is a child run in MLflow. Before it trains it waits, as a trial waits for its
GPU: two trials of one second each that compute would leave two CPUs no time for anything else.

*rate*: trials per second once all workers are up (each imports torch first: seconds, listed apart),
and the seconds that a trial takes beyond the one that it waits.

*memory*: resident memory of the driver, and of the workers together, after so many trials.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from training.jobs import TrainingJob
from training.models import MlpNetwork
from training.search.queue import TrialQueue
from training.search.ray_tune import search
from training.search.ray_worker import TrialRunner, Work
from training.search.sampler import Sampler
from training.search.settings import Objective, Tuning
from training.search.space import Dimension, Params, Space
from training.search.trials import Trial, TrialStore
from training.settings import Training
from training.tracking import Tracking
from training.tracking.trials import TrackedTrials
from zoo_gen import Digits, Draw, Fit, LocalEngine, Recipe, Split, Store, Zoo
from zoo_gen.make.generate import generate
from zoo_gen.make.ray_engine import cluster

ACCURACY = Objective("val_accuracy", greater=True)
SPACE = Space((Dimension(("rate",), Draw(log_uniform=(1e-4, 1e-1))),))
EPOCHS = 2
LOOKS = 10  # at the memory


@dataclass(frozen=True)
class Waiting:
    """Work that begins after some seconds."""

    job: TrainingJob
    seconds: float

    def __call__(self, params: Params) -> Work:
        time.sleep(self.seconds)
        training = replace(self.job.training, learning_rate=params["rate"])
        return Work(replace(self.job, training=training))


@dataclass
class Ends:
    """When trials ended, and what memory was held then."""

    children: TrackedTrials
    every: int
    times: list[float]
    memory: list[tuple[int, float, float]]

    def __call__(self, trial: Trial, records: list[dict[str, float]]) -> None:
        assert trial.status != "failed", trial.reason
        self.children.put(trial, records)
        self.times.append(time.perf_counter())
        if len(self.times) % self.every == 0:
            self.memory.append((len(self.times), *resident()))


def resident() -> tuple[float, float]:
    """MB of this process, and of all Ray workers that run trials."""
    own = psutil.Process()
    workers = [p for p in own.children(recursive=True) if "ImplicitFunc" in " ".join(p.cmdline())]
    return own.memory_info().rss / 1e6, sum(p.memory_info().rss for p in workers) / 1e6


def searched(root: Path, trials: int, seconds: float, at_once: int) -> tuple[float, Ends]:
    """Run a search; when it began, and the ends of its trials."""
    store = Store(str(root))
    signals = Digits().load().limited(120)
    fit = Fit((2, 8, 8, 1), w0=3.0, init="paper", steps=40, learning_rate=0.02)
    recipe = Recipe.of("tuning", Digits(), signals, Zoo(fit, Split(70, 15, 15), views=2))
    generate(store, recipe, signals, LocalEngine())
    training = Training(epochs=EPOCHS, batch_size=50)
    job = TrainingJob("tuning", "mlp", MlpNetwork(hidden=(16,)), training, 0, recipe.folder)
    folder = f"searches/{trials}-{seconds}-{at_once}"
    tuning = Tuning(trials=trials, cpus=2 / at_once, at_once=None)
    sampler = Sampler(SPACE, ACCURACY, learning=True, seed=0)
    queue = TrialQueue(TrialStore(store, folder), sampler, trials)
    runner = TrialRunner(store, folder, Waiting(job, seconds), ACCURACY, cpus=tuning.cpus)
    uri = f"sqlite:///{root}/mlflow.db"
    tracking = Tracking.connect(uri, "tuning", root / "mlartifacts")
    parent = tracking.with_parent(folder, folder, {}, "")
    children = TrackedTrials(parent, "mlp", ACCURACY)
    ends = Ends(children, max(1, trials // LOOKS), [], [])
    with cluster(workers=2):
        began = time.perf_counter()
        search(queue, runner, tuning, EPOCHS, SPACE.default, ends)
    children.close()
    assert len(children.known()) == trials
    return began, ends


def rate(trials: int, rounds: int) -> None:
    """Print the rates."""
    print("| at once | round | trials | to the first end, s | trials/s | beyond its second, s |")
    print("|---|---|---|---|---|---|")
    for i in range(rounds):
        for at_once in (2, 4):
            with tempfile.TemporaryDirectory() as folder:
                began, ends = searched(Path(folder), trials, 1.0, at_once)
            # until all workers are up, fewer trials run
            steady = ends.times[at_once * 2 :]
            per_second = (len(steady) - 1) / (steady[-1] - steady[0])
            print(
                f"| {at_once} | {i + 1} | {trials} | {ends.times[0] - began:.1f} | "
                f"{per_second:.2f} | {at_once / per_second - 1:.2f} |",
                flush=True,
            )


def memory(trials: int) -> None:
    """Print the memory."""
    with tempfile.TemporaryDirectory() as folder:
        _, ends = searched(Path(folder), trials, 0.0, 2)
    print("| trials | driver, MB | workers, MB |\n|---|---|---|")
    for count, driver, workers in ends.memory:
        print(f"| {count} | {driver:.0f} | {workers:.0f} |")
    seconds = ends.times[-1] - ends.times[0]
    print(f"\n{trials} trials, {(trials - 1) / seconds:.1f} per second, {seconds:.0f} s")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rate", "memory"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.what == "rate":
        rate(options.trials or 60, options.rounds)
    else:
        memory(options.trials or 500)


if __name__ == "__main__":
    main()
