"""Trials that log at once: `python many_trials.py TRACKING FIRST COUNT EPOCHS`, a thread for each.

TRACKING is a file with a pickled `Tracking`. Prints the longest time that a call held a trial up.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time
from pathlib import Path

from training.jobs import TrainingJob
from training.models import MlpNetwork
from training.results import Result
from training.settings import Training
from training.tracking import Tracking


def trial_job(number: int) -> TrainingJob:
    """What a trial pretends to train."""
    return TrainingJob(
        "many", f"trial-{number}", MlpNetwork(), Training(), number, "zoos/many-00000000"
    )


def record(number: int, epoch: int) -> dict[str, float]:
    """What it pretends to have found."""
    return {"val_loss": 1 / epoch, "val_accuracy": epoch / 1000, "mark": 1000.0 * number + epoch}


def trial(tracking: Tracking, number: int, epochs: int, held: list[float]) -> None:
    """One trial: its run from begin to end."""
    run = tracking.child(trial_job(number), {"url": "nowhere", "members": 1})
    history = []
    for epoch in range(1, epochs + 1):
        history.append({**record(number, epoch), "seconds": 1.0, "networks_per_second": 1.0})
        started = time.perf_counter()
        run.epoch(epoch, history[-1])
        held.append(time.perf_counter() - started)
        time.sleep(0.05)
    run.finish(Result(1, epochs, history, {"accuracy": 1.0, "loss": 0.0}, [], 0, 1))


def main(file: str, first: str, count: str, epochs: str) -> None:
    """All trials of this process at once."""
    tracking: Tracking = pickle.loads(Path(file).read_bytes())
    held: list[float] = []
    numbers = range(int(first), int(first) + int(count))
    threads = [
        threading.Thread(target=trial, args=(tracking, n, int(epochs), held)) for n in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(max(held))


if __name__ == "__main__":
    main(*sys.argv[1:])
