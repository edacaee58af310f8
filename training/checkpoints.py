"""The state of a training that is not finished, in one file of the store per job."""

from __future__ import annotations

import io
import pickle
import time

import torch

from training.jobs import TrainingJob
from training.loop import State
from zoo_gen import Store
from zoo_gen.log import log_once

CHECKPOINTS = "checkpoints"  # folder below the root


class FileCheckpoints:
    """Checkpoints in a file that is replaced atomically, so that every engine resumes from it.

    Of several workers, the first one writes and all read: none can be an epoch ahead of another,
    since gradients are summed over all.

    Args:
        store: the root.
        job: whose state it is.
        every: seconds between two writes, at least: what a death may cost.
    """

    def __init__(self, store: Store, job: TrainingJob, every: float = 0.0) -> None:
        self.store, self.job, self.every = store, job, every
        self.path = f"{CHECKPOINTS}/{job.hash8}.pt"
        self.written = time.monotonic()

    def load(self) -> State | None:
        """The last saved state, None where there is none that can be used."""
        if not self.store.exists(self.path):
            return None
        return decode_state(self.store.read(self.path), self.job)

    def save(self, state: State | None) -> None:
        """Replace the file, unless that was done lately (None on workers other than the first)."""
        if state is not None and time.monotonic() - self.written >= self.every:
            self.store.publish(self.path, encode_state(state, self.job))
            self.written = time.monotonic()

    def remove(self) -> None:
        """Remove the file of a job that is done."""
        self.store.remove(self.path)


def encode_state(state: State, job: TrainingJob) -> bytes:
    """A training state as bytes."""
    buffer = io.BytesIO()
    torch.save({"job": job.hash8, **state}, buffer)
    return buffer.getvalue()


def decode_state(data: bytes, job: TrainingJob) -> State | None:
    """What `encode_state` made of this job, None of another job or where it is damaged.

    A damaged checkpoint costs the epochs since the start, not the command.
    """
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        owner = state.pop("job")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, ValueError):
        log_once(f"{job.title}: its checkpoint is damaged; it begins anew")
        return None
    if owner != job.hash8:
        log_once(f"{job.title}: its checkpoint is another training's; it begins anew")
        return None
    return state
