"""The processes that share a training: one, or a ``torch.distributed`` process group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from zoo_gen import ConfigError, DwszooError


def worker() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(rows: int) -> slice:
    """The rows of a batch or split that are this worker's."""
    rank, workers = worker()
    return slice(rank * rows // workers, (rank + 1) * rows // workers)


def summed(value: Tensor) -> Tensor:
    """The sum over all workers."""
    if worker()[1] > 1:
        dist.all_reduce(value)
    return value


def any_worker(flag: bool, device: str = "cpu") -> bool:
    """Whether the flag is set on any worker; every worker calls."""
    return bool(summed(torch.tensor(int(flag), device=device)).item())


def check_workers(workers: int, batch_size: int, networks: int) -> None:
    """Raise `ConfigError` where a worker would have no network of a full batch."""
    if workers > min(batch_size, networks):
        raise ConfigError(
            f"--workers-per-model: got {workers}, but a batch has {min(batch_size, networks)} "
            f"network(s) (training.batch_size {batch_size}, {networks} training networks), which "
            "cannot be shared by so many; use fewer workers"
        )


class OtherWorkerFailed(DwszooError):
    """Another worker raises the error that the user sees."""


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
    if any_worker(failure is not None, device):
        raise failure or OtherWorkerFailed("another worker failed")
