"""Jobs one after another in this process; needs no Ray."""

from __future__ import annotations

import os

import torch

from training.checkpoints import FileCheckpoints
from training.jobs import TrainingJob
from training.tracking import Tracking
from training.train_job import OnEpoch, train_job
from zoo_gen import Store


def train_locally(
    store: Store, jobs: list[TrainingJob], tracking: Tracking, on_epoch: OnEpoch
) -> None:
    """Train these jobs, resuming those that were interrupted.

    Raises:
        DwszooError: what a job raises.
    """
    device, threads = "cuda" if torch.cuda.is_available() else "cpu", torch.get_num_threads()
    use_threads()
    try:
        for job in jobs:
            train_job(store, job, tracking, FileCheckpoints(store, job), on_epoch, device)
    finally:
        torch.set_num_threads(threads)


def use_threads() -> None:
    """Let torch use ``OMP_NUM_THREADS`` threads, or one: the digits of a sum depend on how many.

    It may be a list, of which the first is for threads that start no others.
    """
    count = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    torch.set_num_threads(int(count) if count.isdecimal() and int(count) else 1)
