"""Jobs on Ray Train workers: the one door to Ray Train.

Jobs are dealt to *lanes*. A lane is one Ray Train worker group that does its jobs one after
another: starting a group costs some ten seconds, more than many a job, and for models this small
several lanes of one worker are faster than one lane whose workers share each batch. Where a job is
large, a lane may have several workers (gloo on CPUs, nccl on GPUs). After a worker's or the
driver's death a lane continues from its last reported checkpoint, and jobs whose result is
published are skipped.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training import loop, results
from training.loop import State
from training.results import Job
from training.run import (
    CHECKPOINTS,
    OtherWorkerFailed,
    Tell,
    decode_state,
    encode_state,
    run_job,
    use_threads,
)
from training.tracking import Tracking
from zoo_gen import DwszooError, EngineError, Store
from zoo_gen.make.ray_engine import POLL_SECONDS, Meter, forwarded, repeat
from zoo_gen.recipe.recipe import hash8

CHECKPOINT_SECONDS = 10
MAX_FAILURES = 3
STATE_FILE = "state.pt"


@dataclass(frozen=True)
class Lane:
    """What one worker group is told.

    Attributes:
        name: of its folder of checkpoints; the same when the same command runs again.
        store: the root.
        jobs: its own, in order.
        tracking: where runs go.
        meter: whom it tells of its epochs.
        workers: that share each batch.
        use_gpu: one GPU per worker, else one CPU.
        every: seconds between checkpoints, at least.
    """

    name: str
    store: Store
    jobs: list[Job]
    tracking: Tracking
    meter: Any
    workers: int
    use_gpu: bool
    every: float


def run_on_ray(
    store: Store,
    jobs: list[Job],
    tracking: Tracking,
    tell: Tell,
    workers: int | None = None,
    workers_per_job: int = 1,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Do those of these jobs that have no result, on the Ray session that is there.

    Args:
        store: the root, which the workers must reach under the same name.
        jobs: all of a config, so that each finds its own checkpoints again.
        tracking: where runs go.
        tell: called after each epoch.
        workers: training processes at once, with one GPU each where the session has GPUs, else
            one CPU; None for as many as there are now.
        workers_per_job: of them, how many share each batch of a job.
        checkpoint_seconds: between two checkpoints, at least; what a death may cost.

    Raises:
        DwszooError: what a job raised.
        EngineError: a group failed more often than it is restarted, or what leads it died.
    """
    resources = ray.cluster_resources()
    use_gpu = resources.get("GPU", 0) >= 1
    workers = workers or max(1, int(resources.get("GPU" if use_gpu else "CPU", 1)))
    lanes = max(1, min(workers // workers_per_job, len(jobs)))
    key = f"{jobs[0].config}-{hash8({'jobs': [job.hash8 for job in jobs]})}"
    meter = Meter.remote()  # type: ignore[attr-defined]
    whole = Lane(key, store, jobs, tracking, meter, workers_per_job, use_gpu, checkpoint_seconds)
    seen = {job.hash8: 0 for job in jobs}
    told: set[Any] = set()
    running = []
    for i in range(lanes):
        mine = jobs[i::lanes]
        if not all(results.done(store, job) for job in mine):
            lane = replace(whole, name=f"{key}-{i + 1}-of-{lanes}", jobs=mine)
            running.append(_run_lane.remote(lane))
    try:
        while running:
            finished, running = ray.wait(running, timeout=POLL_SECONDS)
            _pass_on(meter, jobs, seen, told, tell)
            for ref in finished:
                if (failure := _failure_of(ref)) is not None:
                    raise failure
    except Exception:
        # one lane's failure ends all; each continues from its checkpoint next time
        for ref in running:
            ray.cancel(ref, force=True)
        raise
    finally:
        ray.kill(meter)


def _failure_of(ref: Any) -> DwszooError | None:
    """What a lane gives, or why it gave nothing, without Ray's wrapping."""
    try:
        failure: DwszooError | None = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DwszooError):
            return error.cause
        raise
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"a process that leads a training died ({type(error).__name__}), often for want of "
            "memory; use fewer --workers; the same command continues where it stopped"
        ) from error
    return failure


@ray.remote(num_cpus=0, max_retries=0)
def _run_lane(lane: Lane) -> DwszooError | None:
    """Run one group to its end; give the error that the user should see, if any."""
    collect_reports_soon()
    path, filesystem = storage(lane.store)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"lane": lane},
        torch_config=TorchConfig(backend="nccl" if lane.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=lane.workers, use_gpu=lane.use_gpu, resources_per_worker={"CPU": 1}
        ),
        run_config=RunConfig(
            name=lane.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        return EngineError(
            f"the training workers failed {MAX_FAILURES + 1} times; last: {last_line(error)}; "
            "--engine local runs the same in this process"
        )
    failure: DwszooError | None = ray.get(lane.meter.read.remote()).get(lane.name)
    if failure is None:
        lane.store.remove(f"{CHECKPOINTS}/{lane.name}")
    return failure


def collect_reports_soon() -> None:
    """Have Ray Train collect reports at this interval; its 2 s would hold each checkpoint up."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


def last_line(error: Exception) -> str:
    """Of what Ray Train says of workers that failed: the reason, after their tracebacks."""
    return ["unknown", *str(error).strip().splitlines()][-1]


def storage(store: Store, folder: str = CHECKPOINTS) -> tuple[str, Any]:
    """A folder below the root as Ray knows it: a path, and its file system if not this one's."""
    if store.is_local:
        return str(store.local(folder)), None
    url = store.url(folder)
    return url.split("://")[1], PyFileSystem(FSSpecHandler(store.filesystem))


def _work(config: dict[str, Any]) -> None:
    """What each worker runs."""
    lane: Lane = config["lane"]
    rank, _ = loop.worker()
    device = str(ray.train.torch.get_device())
    use_threads()

    def tell(job: Job, epoch: int, record: dict[str, float]) -> None:
        lane.meter.tell.remote(job.hash8, (epoch, record))

    with forwarded(lane.meter):
        _do_jobs(lane, rank, device, tell)


def _do_jobs(lane: Lane, rank: int, device: str, tell: Tell) -> None:
    for job in lane.jobs:
        # the first worker looks, for all: what it sees may change while another one looks
        if loop.any_worker(rank == 0 and results.done(lane.store, job), device):
            continue
        try:
            kept = ReportedCheckpoints(job, device, lane.every)
            run_job(lane.store, job, lane.tracking, kept, tell, device)
        except OtherWorkerFailed:
            return
        except DwszooError as error:  # the user must mend it: told once, not retried
            ray.get(lane.meter.tell.remote(lane.name, error))
            return


class ReportedCheckpoints:
    """Checkpoints that Ray Train keeps, at most one in ``every`` seconds."""

    def __init__(self, job: Job, device: str, every: float) -> None:
        self.job, self.device, self.every, self.last = job, device, every, time.monotonic()

    def load(self) -> State | None:
        """The last reported one, if it is of this job."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return decode_state((Path(folder) / STATE_FILE).read_bytes(), self.job, shared=True)

    def save(self, state: State | None) -> None:
        """Report it, if the last one is old enough: all workers report or none does."""
        due = time.monotonic() - self.last > self.every
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


def _pass_on(meter: Any, jobs: list[Job], seen: dict[str, int], told: set[Any], tell: Tell) -> None:
    """Pass on what the workers have told of their epochs since the last call."""
    try:
        known = ray.get(meter.read.remote(), timeout=5)
    except ray.exceptions.RayError:  # also: not up yet, or gone; progress is a courtesy
        return
    repeat(known, told)
    for job in jobs:
        epoch, record = known.get(job.hash8, (0, {}))
        if epoch > seen[job.hash8]:
            seen[job.hash8] = epoch
            tell(job, epoch, record)
