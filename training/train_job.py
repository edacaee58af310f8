"""One training job from the zoo to a tracked result: what every engine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from torch import nn

from training import loop, model_file, results
from training.checkpoints import FileCheckpoints
from training.data import Preparation, canonical, prepare
from training.jobs import TrainingJob
from training.results import Result
from training.tasks import Task, TaskData, load
from training.tracking import ChildRun, Tracking
from training.tracking.models import TrackedModel
from training.workers import together, worker
from zoo_gen import Source, StorageError, Store, ZooReader, open_zoo

OnEpoch = Callable[[TrainingJob, int, dict[str, float]], None]
"""Called after each epoch of a job, from 1, with its record."""


def train_job(
    store: Store,
    job: TrainingJob,
    tracking: Tracking,
    checkpoints: FileCheckpoints,
    on_epoch: OnEpoch = lambda job, epoch, record: None,
    device: str = "cpu",
) -> None:
    """Train, publish the result, finish the run. Every worker calls; the first one writes.

    Raises:
        DwszooError: what the zoo, the loop or the store raise.
    """
    rank, workers = worker()
    run: ChildRun | None = None
    with together(device):
        data, zoo = job_data(store, job)
        if rank == 0:
            run = tracking.child(job, {"url": zoo.url, "members": len(zoo)})

    def log(epoch: int, record: dict[str, float]) -> None:
        assert run is not None
        run.epoch(epoch, record)
        on_epoch(job, epoch, record)

    try:
        outcome = loop.train(job.network, data, job.training, job.seed, checkpoints, log, device)
    except BaseException:
        if run is not None:
            run.leave()
        raise
    with together(device):
        if run is not None:
            result = Result.of(outcome, data, workers)
            content = model_file.encode(job, data, outcome.model.state_dict())
            results.publish(store, job, result, content)
            checkpoints.remove()
            run.finish(result, tracked_model(store, job, outcome.model, data, content))


def track_again(store: Store, job: TrainingJob, tracking: Tracking) -> None:
    """Write a result that is on disk into a tracking store that lacks it."""
    model, data, zoo = trained(store, job)
    run = tracking.child(job, {"url": zoo.url, "members": len(zoo)})
    # described anew: its file may be older than descriptions
    content = model_file.encode(job, data, model.state_dict())
    run.finish(results.read(store, job), tracked_model(store, job, model, data, content))


def trained(store: Store, job: TrainingJob) -> tuple[nn.Module, TaskData, ZooReader]:
    """The model of a job that is done, in evaluation mode, and the networks it learned from.

    Raises:
        StorageError: its file is damaged.
    """
    from safetensors import SafetensorError

    data, zoo = job_data(store, job)
    model = job.task.build(job.network, data)
    path = f"{job.folder}/{results.MODEL_FILE}"
    try:
        model.load_state_dict(model_file.state_of(store.read(path)))
    except (SafetensorError, RuntimeError) as error:
        raise StorageError(
            f"{store.url(path)} is damaged; delete its folder to train the model anew"
        ) from error
    return model.eval(), data, zoo


def tracked_model(
    store: Store, job: TrainingJob, model: nn.Module, data: TaskData, content: bytes
) -> TrackedModel:
    """The model as it is tracked, with weights that it takes and its file.

    Canonical forms go before it, so that it takes weights as they are in a zoo; alignment cannot:
    that model takes aligned weights (`TrainingJob.model_input`), while its file can align them.
    """
    if not job.training.prepare.startswith("canonical"):
        return TrackedModel(model, data.theta, content)
    raw, _ = job_data(store, replace(job, training=replace(job.training, prepare="none")))
    form = canonical(raw.space, raw.forward_pass, job.training.prepare)
    return TrackedModel(nn.Sequential(form, model).eval(), raw.theta, content)


def job_data(store: Store, job: TrainingJob) -> tuple[TaskData, ZooReader]:
    """The networks of a job, read and prepared; once per process for jobs that share them."""
    source = job.source if job.task.takes_signals else None
    return _job_data(store, job.zoo, job.task, job.training.prepare, job.networks, source)


@cache
def _job_data(
    store: Store,
    folder: str,
    task: Task,
    kind: Preparation,
    networks: int | None,
    source: Source | None,
) -> tuple[TaskData, ZooReader]:
    if kind != "none":
        data, zoo = _job_data(store, folder, task, "none", networks, source)
        return prepare(data, kind), zoo
    if networks is not None:
        data, zoo = _job_data(store, folder, task, kind, None, source)
        return data.only(networks), zoo
    zoo = zoo_at(store, folder)
    return load(zoo, task, source), zoo


def forget_zoos() -> None:
    """Free the memory of all networks that `job_data` has read."""
    _job_data.cache_clear()


def zoo_at(store: Store, folder: str) -> ZooReader:
    """A zoo below the root, or elsewhere where an absolute path or an address is given."""
    if folder.startswith("/") or "://" in folder:
        return open_zoo(folder)
    return ZooReader(store, folder)
