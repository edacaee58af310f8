"""Jobs on Ray: one worker per lane, which trains its jobs one after another.

A lane is a Ray task. It runs in a worker process that is there, such as one that has fitted a
shard: torch is loaded, nothing has to start. Ray runs the task again elsewhere when its worker or
node dies; it skips jobs that have a result and continues the one that was interrupted from its
checkpoint, as the same command does after the death of its driver. For models this small several
lanes of one worker are faster than one lane whose workers share each batch. Where a job is large, a
lane may have several workers, which Ray Train starts (`training.ray_train`).
"""

from __future__ import annotations

from typing import Any

import ray

from training import results
from training.jobs import TrainingJob
from training.lanes import MAX_FAILURES, Lane, train_lane
from training.local_engine import use_threads
from training.tracking import Tracking
from training.train_job import OnEpoch
from zoo_gen import DwszooError, EngineError, Store
from zoo_gen.make.ray_engine import POLL_SECONDS, Meter, forwarded, repeat

CHECKPOINT_SECONDS = 10


def train_on_ray(
    store: Store,
    jobs: list[TrainingJob],
    tracking: Tracking,
    on_epoch: OnEpoch,
    workers: int | None = None,
    workers_per_job: int = 1,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train those of these jobs that have no result, on the Ray session that is there.

    Args:
        store: the root, which the workers must reach under the same name.
        jobs: all of a config.
        tracking: where runs go.
        on_epoch: called after each epoch.
        workers: training processes at once, with one GPU each where the session has GPUs, else
            one CPU; None for as many as there are now.
        workers_per_job: of them, how many share each batch of a job.
        checkpoint_seconds: between two checkpoints, at least; what a death may cost.

    Raises:
        DwszooError: what a job raises.
        EngineError: workers died more often than they are replaced.
    """
    resources = ray.cluster_resources()
    use_gpu = resources.get("GPU", 0) >= 1
    workers = workers or max(1, int(resources.get("GPU" if use_gpu else "CPU", 1)))
    pending = [job for job in jobs if not results.done(store, job)]
    lanes = max(1, min(workers // workers_per_job, len(pending)))
    meter = Meter.remote()  # type: ignore[attr-defined]
    start = _train_lane.options(num_gpus=int(use_gpu)) if workers_per_job == 1 else _lead_group
    running = []
    for i in range(lanes):
        share = (tracking, meter, workers_per_job, use_gpu, checkpoint_seconds)
        running.append(start.remote(Lane(store, pending[i::lanes], *share)))
    progress = _Progress(meter, pending, on_epoch)
    try:
        while running:
            finished, running = ray.wait(running, timeout=POLL_SECONDS)
            progress.show()
            for ref in finished:
                _raise_failure_of(ref)
    except Exception:
        # one lane's failure ends all; their jobs continue from their checkpoints next time
        for ref in running:
            ray.cancel(ref, force=True)
        raise
    finally:
        ray.kill(meter)


@ray.remote(num_cpus=1, max_retries=MAX_FAILURES)
def _train_lane(lane: Lane) -> None:
    use_threads()
    with forwarded(lane.meter):
        train_lane(lane, "cuda" if lane.use_gpu else "cpu")


@ray.remote(num_cpus=0, max_retries=0)
def _lead_group(lane: Lane) -> None:
    from training.ray_train import train_in_group  # loads Ray Train

    train_in_group(lane)


def _raise_failure_of(ref: Any) -> None:
    """Raise what ended a lane, without Ray's wrapping; nothing where it went well."""
    try:
        ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DwszooError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"a training process died ({type(error).__name__}) more often than it is restarted, "
            "often for want of memory; use fewer --workers; the same command continues where it "
            "stopped"
        ) from error


class _Progress:
    """Epochs and log lines of the workers, shown in the driver as they come."""

    def __init__(self, meter: Any, jobs: list[TrainingJob], on_epoch: OnEpoch) -> None:
        self.meter, self.jobs, self.on_epoch = meter, jobs, on_epoch
        self.epochs = dict.fromkeys((job.hash8 for job in jobs), 0)
        self.lines: set[Any] = set()

    def show(self) -> None:
        """Show what is new since the last call."""
        try:
            known = ray.get(self.meter.read.remote(), timeout=5)
        except ray.exceptions.RayError:  # also: not up yet, or gone; progress is a courtesy
            return
        repeat(known, self.lines)
        for job in self.jobs:
            epoch, record = known.get(job.hash8, (0, {}))
            if epoch > self.epochs[job.hash8]:
                self.epochs[job.hash8] = epoch
                self.on_epoch(job, epoch, record)
