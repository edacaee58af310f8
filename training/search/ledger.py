"""The record of a search: a file per trial, written as it begins and as it ends, each time whole.

It is all that a search knows of its past. Ray Tune's own snapshots are not used: they are minutes
old when a driver dies, and hold neither what ASHA has seen nor a population's state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from training.search.settings import Objective
from training.search.space import Params, tupled
from zoo_gen import StorageError, Store

READERS = 16  # object stores answer slowly, but many at once


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0, in the order of the draws.
        params: what was drawn; of a population, what the trial has come to.
        status: ``"running"`` until it ended: ``"done"``, ``"stopped"`` (by ASHA or the end of the
            minutes) or ``"failed"``.
        curve: (epoch, the objective's metric), in order; of a population, of the epochs that the
            trial's model has behind it, those before it was taken over included.
        seconds: from its begin to its end.
        reason: why it failed.
    """

    number: int
    params: Params
    status: Literal["running", "done", "stopped", "failed"] = "running"
    curve: tuple[tuple[int, float], ...] = ()
    seconds: float = 0.0
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status != "running"

    def best(self, objective: Objective) -> float | None:
        """The value of its best epoch; None of a trial that failed, whatever its first epochs."""
        return (
            None if self.status == "failed" else objective.best([value for _, value in self.curve])
        )

    def text(self) -> str:
        """What was drawn, for people."""
        return ", ".join(f"{key.rsplit('.', 1)[-1]} {shown(v)}" for key, v in self.params.items())


def best_of(trials: list[Trial], objective: Objective) -> Trial | None:
    """The best trial; the first of equal ones."""
    known = [(t.best(objective), t) for t in trials if t.best(objective) is not None]
    sign = 1 if objective.greater else -1
    return max(known, key=lambda pair: sign * float(pair[0] or 0.0), default=(None, None))[1]


def shown(value: Any) -> str:
    """A value of a config, for people."""
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value)


class Ledger:
    """The trials of one search on disk.

    Args:
        store: the root.
        folder: of the search below it.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self.store, self.folder = store, folder

    def read(self) -> list[Trial]:
        """All trials, by number.

        Raises:
            StorageError: a record is none.
        """
        names = [n for n in self.store.names(f"{self.folder}/trials") if n.endswith(".json")]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._read, names))

    def _read(self, name: str) -> Trial:
        path = f"{self.folder}/trials/{name}"
        try:
            plain = json.loads(self.store.read(path))
            plain["curve"] = tuple((int(e), float(v)) for e, v in plain["curve"])
            plain["params"] = {k: tupled(v) for k, v in plain["params"].items()}
            return Trial(**plain)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.store.url(path)} is not a trial's record ({error!r}); delete it: the trial "
                "is drawn anew"
            ) from error

    def write(self, trial: Trial) -> None:
        """Keep a trial, instead of what was known of it."""
        data = json.dumps(vars(trial)).encode()
        self.store.publish(f"{self.folder}/trials/{trial.number:05}.json", data)

    def checkpoint(self, number: int) -> str:
        """Where the state of a running trial lies."""
        return f"{self.folder}/checkpoints/{number:05}.pt"

    def minutes(self) -> float:
        """That the search has taken so far."""
        try:
            return float(json.loads(self.store.read(f"{self.folder}/clock.json"))["minutes"])
        except (StorageError, ValueError, KeyError, TypeError):
            return 0.0

    def spend(self, minutes: float) -> None:
        """Keep how many minutes the search has taken."""
        text = json.dumps({"minutes": minutes})
        self.store.publish(f"{self.folder}/clock.json", text.encode())


def numbers(trials: list[Trial]) -> Iterator[int]:
    """Of trials that are not there yet, in order."""
    known = {trial.number for trial in trials}
    number = 0
    while True:
        if number not in known:
            yield number
        number += 1
