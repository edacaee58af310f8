"""Jobs on a Ray Train worker group: the one door to Ray Train.

One group does all jobs of a command, one after another: starting a group costs some ten seconds,
more than many a job. Workers split every batch between them (gloo on CPUs, nccl on GPUs). After a
worker's or the driver's death the group continues from the last reported checkpoint, and jobs whose
result is published are skipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training import loop, results
from training.loop import State
from training.results import Job
from training.run import OtherWorkerFailed, Tell, decode_state, encode_state, run_job
from training.tracking import Tracking
from zoo_gen import DwszooError, EngineError, Store
from zoo_gen.ray_engine import POLL_SECONDS, Meter
from zoo_gen.recipe import hash8

CHECKPOINT_SECONDS = 10
MAX_FAILURES = 3
WORKERS = 4  # by default; more would wait for each other: these models are small
STATE_FILE = "state.pt"


@dataclass(frozen=True)
class Plan:
    """What the workers are told."""

    store: Store
    jobs: list[Job]
    tracking: Tracking
    meter: Any


def run_on_ray(
    store: Store,
    jobs: list[Job],
    tracking: Tracking,
    tell: Tell,
    workers: int | None = None,
) -> None:
    """Do these jobs on one group of workers, on the Ray session that is there.

    Args:
        store: the root, which the workers must reach under the same name.
        jobs: those that are not done.
        tracking: where runs go.
        tell: called after each epoch.
        workers: processes that share each batch: one GPU each where the session has GPUs, else
            one CPU; None for as many as there are now, up to `WORKERS`.

    Raises:
        DwszooError: what a job raised.
        EngineError: the group failed more often than it is restarted.
    """
    resources = ray.cluster_resources()
    use_gpu = resources.get("GPU", 0) >= 1
    available = max(1, int(resources.get("GPU" if use_gpu else "CPU", 1)))
    workers = workers or min(WORKERS, available)
    meter = Meter.remote()  # type: ignore[attr-defined]
    name = f"{jobs[0].config}-{hash8({'jobs': [job.hash8 for job in jobs]})}"
    storage = store.local("checkpoints")
    # reports are collected at this interval; the default of 2 s would hold every checkpoint up
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    trainer = TorchTrainer(
        _work,
        train_loop_config={"plan": Plan(store, jobs, tracking, meter)},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=use_gpu, resources_per_worker={"CPU": 1}
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        with _told(meter, jobs, tell):
            trainer.fit()
        failure = ray.get(meter.read.remote()).get("failure")
    except ray.train.TrainingFailedError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "unknown"
        raise EngineError(
            f"the training workers failed {MAX_FAILURES + 1} times; last: {reason}; "
            "--engine local runs the same in this process"
        ) from error
    finally:
        ray.kill(meter)
    if failure is not None:
        raise failure
    shutil.rmtree(storage / name, ignore_errors=True)


def _work(config: dict[str, Any]) -> None:
    """What each worker runs."""
    plan: Plan = config["plan"]
    rank, _ = loop.worker()
    device = str(ray.train.torch.get_device())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    def tell(job: Job, epoch: int, record: dict[str, float]) -> None:
        plan.meter.tell.remote(job.hash8, (epoch, record))

    for job in plan.jobs:
        # the first worker looks, for all: what it sees may change while another one looks
        if loop.any_worker(rank == 0 and results.done(plan.store, job), device):
            continue
        try:
            run_job(plan.store, job, plan.tracking, ReportedCheckpoints(job, device), tell, device)
        except OtherWorkerFailed:
            return
        except DwszooError as error:  # the user must mend it: told once, not retried
            ray.get(plan.meter.tell.remote("failure", error))
            return


class ReportedCheckpoints:
    """Checkpoints that Ray Train keeps, at most one per `CHECKPOINT_SECONDS`."""

    def __init__(self, job: Job, device: str) -> None:
        self.job, self.device, self.last = job, device, time.monotonic()

    def load(self) -> State | None:
        """The last reported one, if it is of this job."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return decode_state((Path(folder) / STATE_FILE).read_bytes(), self.job)

    def save(self, state: State | None) -> None:
        """Report it, if the last one is old enough: all workers report or none does."""
        due = time.monotonic() - self.last > CHECKPOINT_SECONDS
        if not loop.any_worker(state is not None and due, self.device):
            return
        self.last = time.monotonic()
        metrics = {"job": self.job.title}
        if state is None:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE_FILE).write_bytes(encode_state(state, self.job))
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


@contextmanager
def _told(meter: Any, jobs: list[Job], tell: Tell) -> Iterator[None]:
    """While the block runs, pass on what the workers tell of their epochs."""
    stop = threading.Event()
    seen = {job.hash8: 0 for job in jobs}

    def pass_on() -> None:
        try:
            known = ray.get(meter.read.remote(), timeout=5)
        except ray.exceptions.RayError:  # also: not up yet, or gone; progress is a courtesy
            return
        for job in jobs:
            epoch, record = known.get(job.hash8, (0, {}))
            if epoch > seen[job.hash8]:
                seen[job.hash8] = epoch
                tell(job, epoch, record)

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            pass_on()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        pass_on()
    finally:
        stop.set()
        thread.join()
