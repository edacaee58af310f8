"""What tracking costs a training, and whether anything is lost when 200 trials log at once.

    python benchmarks/tracking.py cost
    python benchmarks/tracking.py trials [--trials 200] [--server URL]

``cost``: the same training of a DWSNet with tracking into an SQLite file and without any, on one
thread, in rounds that alternate; the ratio is that of the time from the first epoch to the last.
What is paid once per run, to begin it and to end it with its model, is told beside it.

``trials``: threads of a few processes, each a run of 20 epochs, all at once into one SQLite file or
one server; afterwards every metric of every epoch of every run is read again and compared.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "training")]

import torch  # noqa: E402
from many_trials import record, trial_job  # noqa: E402

from dws import WeightSpace  # noqa: E402
from training import loop  # noqa: E402
from training.data import WeightData  # noqa: E402
from training.models import DwsNetwork  # noqa: E402
from training.results import Job, Result  # noqa: E402
from training.tracked_models import TrackedModel  # noqa: E402
from training.tracking import Tracking  # noqa: E402

ROUNDS, EPOCHS, NETWORKS = 5, 20, 4096
PROCESSES, TRIAL_EPOCHS = 10, 20


def fresh(folder: Path, server: str | None) -> Tracking:
    """A parent run in a store."""
    uri = server or f"sqlite:///{folder}/mlflow.db"
    artifacts = None if server else folder / "mlartifacts"
    name = f"benchmark-{time.time_ns()}"
    return Tracking.connect(uri, name, artifacts).with_parent(name, name, {}, "")


def networks() -> WeightData:
    """Weights and classes at random, of the size of the digits' networks."""
    space = WeightSpace.mlp([2, 16, 16, 1])
    source = torch.Generator().manual_seed(0)
    theta = torch.randn(NETWORKS, space.size, generator=source)
    target = torch.randint(10, (NETWORKS,), generator=source)
    few = torch.arange(64)
    rows = {"train": torch.arange(NETWORKS), "val": few, "test": few}
    return WeightData(space, theta, target, torch.arange(NETWORKS), rows, 10, 0)


def cost() -> None:
    """Print the table of what tracking costs."""
    torch.set_num_threads(1)
    data, network = networks(), DwsNetwork(hidden_channels=32, layers=4)
    settings = loop.Training(epochs=EPOCHS)
    ratios, begins, ends, seconds = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        tracking = fresh(Path(folder), None)
        loop.train(network, data, loop.Training(epochs=1), 0)  # warm
        for number in range(ROUNDS):
            plain = timed(network, data, settings, None)[0]
            job = Job("benchmark", "dwsnet", network, settings, number, "zoos/random-00000000")
            start = time.perf_counter()
            run = tracking.child(job, {"url": "memory", "members": NETWORKS})
            begins.append(time.perf_counter() - start)
            tracked, outcome = timed(network, data, settings, run)
            start = time.perf_counter()
            model = TrackedModel(outcome.model, data.theta, b"")
            run.finish(Result(1, 1, outcome.history, {}, [], 0, 1), model)
            ends.append(time.perf_counter() - start)
            ratios.append(tracked / plain)
            seconds.append(plain / EPOCHS)
    print(f"{EPOCHS} epochs of {statistics.median(seconds):.2f} s, {ROUNDS} rounds")
    told = f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"with tracking / without   {told}")
    print(f"once per run: to begin    {statistics.median(begins):.2f} s")
    print(f"once per run: to end      {statistics.median(ends):.2f} s, the model with it")


def timed(network: DwsNetwork, data: WeightData, settings: loop.Training, run: object) -> tuple:
    """Seconds of a training, and what came of it."""

    def nothing(epoch: int, record: dict[str, float]) -> None:
        pass

    tell = nothing if run is None else run.epoch
    start = time.perf_counter()
    outcome = loop.train(network, data, settings, 0, None, tell)
    return time.perf_counter() - start, outcome


def trials(count: int, server: str | None) -> None:
    """Print what became of many trials at once."""
    from mlflow import MlflowClient

    script = str(ROOT / "tests" / "training" / "many_trials.py")
    each = -(-count // PROCESSES)
    with tempfile.TemporaryDirectory() as folder:
        tracking = fresh(Path(folder), server)
        (Path(folder) / "tracking").write_bytes(pickle.dumps(tracking))
        start = time.perf_counter()
        command = [sys.executable, script, f"{folder}/tracking"]
        processes = [
            subprocess.Popen(
                [*command, *map(str, (i * each, min(each, count - i * each), TRIAL_EPOCHS))],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for i in range(PROCESSES)
            if count > i * each
        ]
        held = [float(p.communicate()[0].split()[-1]) for p in processes]
        seconds = time.perf_counter() - start
        client, lost = MlflowClient(tracking.uri), 0
        for number in range(count):
            run = tracking.find(trial_job(number).hash8, finished=True)
            for name in record(number, 1):
                history = client.get_metric_history(run, name) if run else []
                found = {(m.step, m.value) for m in history}
                due = {(e, record(number, e)[name]) for e in range(1, TRIAL_EPOCHS + 1)}
                lost += len(due - found) + (len(history) != TRIAL_EPOCHS)
    values = count * TRIAL_EPOCHS * len(record(0, 1))
    print(f"{tracking.uri.split(':')[0]}: {count} trials in {len(processes)} processes at once")
    print(f"  {seconds:.0f} s; {values:,} values, {lost} lost or doubled")
    print(f"  an epoch was held up for {1e3 * max(held):.1f} ms at most")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cost", "trials"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--server", metavar="URL", help="an MLflow server instead of SQLite")
    given = parser.parse_args()
    if given.what == "cost":
        cost()
    else:
        trials(given.trials, given.server)


if __name__ == "__main__":
    main()
