"""Do jobs: load the zoo, train, publish, track. The plain loop that every engine runs."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from training import loop, model_file, results
from training.data import Preparation, WeightData, canonical, load, prepare
from training.loop import Checkpoints, State
from training.results import Job, Result
from training.tasks import Task
from training.tracking import ChildRun, Tracking
from training.tracking.models import TrackedModel
from zoo_gen import DwszooError, Source, StorageError, Store, ZooReader, open_zoo
from zoo_gen.log import log_once

CHECKPOINTS = "checkpoints"  # folder below the root
Tell = Callable[[Job, int, dict[str, float]], None]
"""Called after each epoch of a job, from 1, with its record."""


def run_job(
    store: Store,
    job: Job,
    tracking: Tracking,
    checkpoints: Checkpoints,
    tell: Tell = lambda job, epoch, record: None,
    device: str = "cpu",
) -> None:
    """Train one job, publish its result, finish its run. Every worker calls; the first one writes.

    Raises:
        DwszooError: what the zoo, the loop or the store raise.
    """
    rank, workers = loop.worker()
    run: ChildRun | None = None
    with together(device):
        data, zoo = job_data(store, job)
        if rank == 0:
            run = tracking.child(job, {"url": zoo.url, "members": len(zoo)})

    def on_epoch(epoch: int, record: dict[str, float]) -> None:
        assert run is not None
        run.epoch(epoch, record)
        tell(job, epoch, record)

    try:
        outcome = loop.train(
            job.network, data, job.training, job.seed, checkpoints, on_epoch, device
        )
    except BaseException:
        if run is not None:
            run.leave()
        raise
    with together(device):
        if run is not None:
            result = Result.of(outcome, data, workers)
            content = model_file.encode(job, data, outcome.model.state_dict())
            results.publish(store, job, result, content)
            run.finish(result, logged(store, job, outcome.model, data, content))


@contextmanager
def together(device: str) -> Iterator[None]:
    """A step that may fail on one worker: if it does, it fails on all, and none waits for another.

    Raises:
        DwszooError: the worker's own error.
        OtherWorkerFailed: on workers without one.
    """
    failure: DwszooError | None = None
    try:
        yield
    except DwszooError as error:
        failure = error
    if loop.any_worker(failure is not None, device):
        raise failure or OtherWorkerFailed("another worker failed")


class OtherWorkerFailed(DwszooError):
    """Another worker has the error to tell."""


def track_again(store: Store, job: Job, tracking: Tracking) -> None:
    """Write a result that is on disk into a tracking store that lacks it."""
    model, data, zoo = trained(store, job)
    run = tracking.child(job, {"url": zoo.url, "members": len(zoo)})
    # described anew: its file may be older than descriptions
    content = model_file.encode(job, data, model.state_dict())
    run.finish(results.read(store, job), logged(store, job, model, data, content))


def trained(store: Store, job: Job) -> tuple[nn.Module, WeightData, ZooReader]:
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


def logged(
    store: Store, job: Job, model: nn.Module, data: WeightData, content: bytes
) -> TrackedModel:
    """The model as it is tracked, with weights that it takes and its file.

    Canonical forms go before it, so that it takes weights as they are in a zoo; alignment cannot:
    that model takes aligned weights (`Job.model_input`), while its file knows how to align them.
    """
    if not job.training.prepare.startswith("canonical"):
        return TrackedModel(model, data.theta, content)
    raw, _ = job_data(store, replace(job, training=replace(job.training, prepare="none")))
    form = canonical(raw.space, raw.forward_pass, job.training.prepare)
    return TrackedModel(nn.Sequential(form, model).eval(), raw.theta, content)


def job_data(store: Store, job: Job) -> tuple[WeightData, ZooReader]:
    """The networks of a job, read and prepared as it says; once per process for equal wishes."""
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
) -> tuple[WeightData, ZooReader]:
    if kind != "none":
        data, zoo = _job_data(store, folder, task, "none", networks, source)
        return prepare(data, kind), zoo
    if networks is not None:
        data, zoo = _job_data(store, folder, task, kind, None, source)
        return data.only(networks), zoo
    zoo = zoo_at(store, folder)
    return load(zoo, task, source), zoo


def forget_zoos() -> None:
    """Give back the memory of all networks that `job_data` has read."""
    _job_data.cache_clear()


def zoo_at(store: Store, folder: str) -> ZooReader:
    """A zoo below the root, or elsewhere where an absolute path or an address is given."""
    if folder.startswith("/") or "://" in folder:
        return open_zoo(folder)
    return ZooReader(store, folder)


def run_locally(store: Store, jobs: list[Job], tracking: Tracking, tell: Tell) -> None:
    """One job after another in this process, resuming from files; needs no Ray."""
    device, threads = "cuda" if torch.cuda.is_available() else "cpu", torch.get_num_threads()
    use_threads()
    try:
        for job in jobs:
            place = FileCheckpoints(store, f"{CHECKPOINTS}/local-{job.hash8}.pt", job)
            run_job(store, job, tracking, place, tell, device)
            store.remove(place.path)
    finally:
        torch.set_num_threads(threads)


def use_threads() -> None:
    """Let torch use ``OMP_NUM_THREADS`` threads, or one: the digits of a sum depend on how many.

    It may be a list, of which the first is for threads that start no others.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    torch.set_num_threads(int(told) if told.isdecimal() and int(told) else 1)


class FileCheckpoints:
    """Checkpoints in one file of a store, replaced atomically after each epoch."""

    def __init__(self, store: Store, path: str, job: Job) -> None:
        self.store, self.path, self.job = store, path, job

    def load(self) -> State | None:
        """What was saved last, if it is of this job."""
        if not self.store.exists(self.path):
            return None
        return decode_state(self.store.read(self.path), self.job)

    def save(self, state: State | None) -> None:
        """Replace the file."""
        if state is not None:
            self.store.publish(self.path, encode_state(state, self.job))


def encode_state(state: State, job: Job) -> bytes:
    """A training state as bytes."""
    buffer = io.BytesIO()
    torch.save({"job": job.hash8, **state}, buffer)
    return buffer.getvalue()


def decode_state(data: bytes, job: Job, shared: bool = False) -> State | None:
    """A training state of this job, or None: it costs the epochs since the start, not the command.

    Args:
        data: what `encode_state` made.
        job: whose state is wanted.
        shared: several jobs use one place in turn, so another's is no surprise.
    """
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        owner = state.pop("job")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, ValueError):
        log_once(f"{job.title}: its checkpoint is damaged; it begins anew")
        return None
    if owner == job.hash8:
        return state
    if not shared:
        log_once(f"{job.title}: its checkpoint is another training's; it begins anew")
    return None
