"""Workers that share each batch of a job: the one door to Ray Train.

Ray Train starts the workers of a lane (gloo on CPUs, nccl on GPUs) and starts all of them again
when one dies.
"""

from __future__ import annotations

import os
from typing import Any

import ray
import ray.train
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training.checkpoints import CHECKPOINTS
from training.lanes import MAX_FAILURES, Lane, train_lane
from training.local_engine import use_threads
from training.workers import OtherWorkerFailed
from zoo_gen import DwszooError, EngineError, Store
from zoo_gen.make.ray_engine import forwarded
from zoo_gen.recipe.recipe import hash8


def train_in_group(lane: Lane) -> None:
    """Train the jobs of a lane with a group of workers, to its end.

    Raises:
        DwszooError: what a job raises.
        EngineError: the group failed more often than it is restarted.
    """
    collect_reports_soon()
    name = f"group-{hash8({'jobs': [job.hash8 for job in lane.jobs]})}"
    path, filesystem = storage(lane.store)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"lane": lane, "name": name},
        torch_config=TorchConfig(backend="nccl" if lane.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=lane.workers, use_gpu=lane.use_gpu, resources_per_worker={"CPU": 1}
        ),
        run_config=RunConfig(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise EngineError(
            f"the training workers failed {MAX_FAILURES + 1} times; last: {last_line(error)}; "
            "--engine local runs the same in this process"
        ) from error
    if (failure := ray.get(lane.meter.read.remote()).get(name)) is not None:
        raise failure
    lane.store.remove(f"{CHECKPOINTS}/{name}")


def _work(config: dict[str, Any]) -> None:
    """What each worker of a group runs."""
    lane: Lane = config["lane"]
    use_threads()
    with forwarded(lane.meter):
        try:
            train_lane(lane, str(ray.train.torch.get_device()))
        except OtherWorkerFailed:
            return
        except DwszooError as error:  # the same again would not help: no reason to restart
            ray.get(lane.meter.report.remote(config["name"], error))


def collect_reports_soon() -> None:
    """Have Ray Train collect reports at this interval; its 2 s would hold each of them up."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


def last_line(error: Exception) -> str:
    """Of Ray Train's error about failed workers: the reason, after their tracebacks."""
    return ["unknown", *str(error).strip().splitlines()][-1]


def storage(store: Store, folder: str = CHECKPOINTS) -> tuple[str, Any]:
    """A folder below the root as Ray knows it: a path, and its file system if not this one's."""
    if store.is_local:
        return str(store.local(folder)), None
    url = store.url(folder)
    return url.split("://")[1], PyFileSystem(FSSpecHandler(store.filesystem))
