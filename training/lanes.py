"""Jobs that a worker, or a group of workers, trains one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training import results
from training.checkpoints import FileCheckpoints
from training.jobs import TrainingJob
from training.tracking import Tracking
from training.train_job import train_job
from training.workers import any_worker, worker
from zoo_gen import Store

MAX_FAILURES = 3  # how often what trains a lane is started again


@dataclass(frozen=True)
class Lane:
    """Jobs that are trained one after another.

    Attributes:
        store: the root.
        jobs: in order.
        tracking: where runs go.
        meter: actor that epochs and log lines are sent to.
        workers: that share each batch.
        use_gpu: one GPU per worker, else one CPU.
        every: seconds between checkpoints, at least.
    """

    store: Store
    jobs: list[TrainingJob]
    tracking: Tracking
    meter: Any
    workers: int
    use_gpu: bool
    every: float


def train_lane(lane: Lane, device: str) -> None:
    """Train the jobs of a lane that have no result; every one of its workers calls.

    Raises:
        DwszooError: what a job raises.
    """
    rank, _ = worker()

    def on_epoch(job: TrainingJob, epoch: int, record: dict[str, float]) -> None:
        lane.meter.report.remote(job.hash8, (epoch, record))

    for job in lane.jobs:
        # the first worker looks, for all: what it sees may change while another one looks
        if any_worker(rank == 0 and results.done(lane.store, job), device):
            continue
        checkpoints = FileCheckpoints(lane.store, job, lane.every)
        train_job(lane.store, job, lane.tracking, checkpoints, on_epoch, device)
