"""What tracking costs a training, and whether anything is lost when 200 trials log at once.

    python benchmarks/tracking.py cost [--rounds 5]
    python benchmarks/tracking.py thread
    python benchmarks/tracking.py trials [--trials 200] [--server URL]

``cost``: the same training of a DWSNet with tracking into an SQLite file and without any, on one
thread, in rounds that alternate. Reports ratios of the time from the first epoch to the last
and of the process's CPU time in it, and, since both are disturbed by other programs, the share of
that CPU time which the thread that writes has used. What is paid once per run, to begin it and to
end it with its model, is reported beside them.

``thread``: the CPU time of the thread that writes, while four epochs a second come in from one that
sleeps between them: a share of one core, which other programs on the machine hardly change.

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
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "training" / "tracking")]

import torch  # noqa: E402
from many_trials import record, trial_job  # noqa: E402

from dws import WeightSpace  # noqa: E402
from training import loop  # noqa: E402
from training.jobs import TrainingJob  # noqa: E402
from training.models import DwsNetwork  # noqa: E402
from training.results import Result  # noqa: E402
from training.settings import Training  # noqa: E402
from training.tasks import Classify, TaskData  # noqa: E402
from training.tracking import Tracking  # noqa: E402
from training.tracking.models import TrackedModel  # noqa: E402

EPOCHS, NETWORKS = 20, 1024
PROCESSES, TRIAL_EPOCHS = 10, 20


def fresh(folder: Path, server: str | None) -> Tracking:
    """A parent run in a store."""
    uri = server or f"sqlite:///{folder}/mlflow.db"
    artifacts = None if server else folder / "mlartifacts"
    name = f"benchmark-{time.time_ns()}"
    return Tracking.connect(uri, name, artifacts).with_parent(name, name, {}, "")


def thread() -> None:
    """Print what share of a core writing takes."""
    names = ("train_loss", "val_loss", "val_accuracy", "learning_rate", "seconds")
    with tempfile.TemporaryDirectory() as folder:
        tracking = fresh(Path(folder), None)
        for number in range(2):
            run = tracking.child(trial_job(number), {"url": "memory", "members": 1})
            before, start = writing(), time.perf_counter()
            for epoch in range(1, 81):
                run.epoch(epoch, {**dict.fromkeys(names, 1.0), "networks_per_second": 1.0})
                time.sleep(0.25)
            cpu, wall = writing() - before, time.perf_counter() - start
            print(f"{cpu:.3f} s of CPU in {wall:.1f} s: {cpu / wall:.2%} of a core", flush=True)
            run.leave()


def networks() -> TaskData:
    """Weights and classes at random, of the size of the digits' networks."""
    space = WeightSpace.mlp([2, 16, 16, 1])
    source = torch.Generator().manual_seed(0)
    theta = torch.randn(NETWORKS, space.size, generator=source)
    target = torch.randint(10, (NETWORKS,), generator=source)
    few = torch.arange(64)
    rows = {"train": torch.arange(NETWORKS), "val": few, "test": few}
    member = torch.arange(NETWORKS)
    return TaskData(
        space=space,
        theta=theta,
        member=member,
        rows=rows,
        task=Classify(),
        target=target,
        classes=10,
    )


def cost(rounds: int) -> None:
    """Print what tracking costs."""
    torch.set_num_threads(1)
    data, network = networks(), DwsNetwork(hidden_channels=32, layers=4)
    settings = Training(epochs=EPOCHS)
    times, shares, begins, ends = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        tracking = fresh(Path(folder), None)
        loop.train(network, data, Training(epochs=1), 0)  # warm
        for number in range(rounds):
            job = TrainingJob(
                "benchmark", "dwsnet", network, settings, number, "zoos/random-00000000"
            )
            plain, _ = timed(lambda: loop.train(network, data, settings, 0))
            begin, run = timed(partial(tracking.child, job, {"url": "memory", "members": NETWORKS}))
            on_epoch = run.epoch
            tracked, outcome = timed(
                lambda report=on_epoch: loop.train(network, data, settings, 0, None, report)
            )
            shares.append(writing() / tracked[1])
            model = TrackedModel(outcome.model, data.theta, b"")
            result = Result(1, 1, outcome.history, {}, [], 0, 1)
            end, _ = timed(partial(run.finish, result, model))
            times.append((plain, tracked))
            begins.append(begin)
            ends.append(end)
            print(
                f"  round {number + 1}: {plain[0]:.1f} s without, {tracked[0]:.1f} s with",
                flush=True,
            )
    print(f"{EPOCHS} epochs of {statistics.median(p[0] for p, _ in times) / EPOCHS:.2f} s")
    for i, what in enumerate(("time", "CPU time")):
        ratios = [tracked[i] / plain[i] for plain, tracked in times]
        summary = f"median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{what} with tracking / without: {summary}")
    print(f"CPU time of the writing thread / of the process: {statistics.median(shares):.4f}")
    for what, found in (("begin", begins), ("end (its model is logged)", ends)):
        wall, cpu = (statistics.median(f[i] for f in found) for i in (0, 1))
        print(f"to {what} a run, once: {wall:.2f} s, {cpu:.2f} s of CPU")


def writing() -> float:
    """CPU seconds of the thread that writes metrics, so far."""
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("metrics-")]
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))


def timed(action: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds and CPU seconds of something, and what it gives."""
    start, cpu = time.perf_counter(), time.process_time()
    given = action()
    return (time.perf_counter() - start, time.process_time() - cpu), given


def trials(count: int, server: str | None) -> None:
    """Print what became of many trials at once."""
    from mlflow import MlflowClient

    script = str(ROOT / "tests" / "training" / "tracking" / "many_trials.py")
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
    parser.add_argument("what", choices=["cost", "thread", "trials"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--server", metavar="URL", help="an MLflow server instead of SQLite")
    given = parser.parse_args()
    if given.what == "cost":
        cost(given.rounds)
    elif given.what == "thread":
        thread()
    else:
        trials(given.trials, given.server)


if __name__ == "__main__":
    main()
