"""Trials on disk: one JSON file each, written whole as the trial begins and as it ends.

These files are the whole memory of a search. Ray Tune's own snapshots are not used: they are
minutes old when a driver dies, and lack what ASHA has seen.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from training.search.settings import Objective
from training.search.space import Params
from zoo_gen import StorageError, Store
from zoo_gen.recipe.draws import tupled

READERS = 16  # object stores answer slowly, but many requests at once


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0, in the order of the draws.
        params: its values.
        status: ``"running"`` until it has ended: ``"done"``, ``"stopped"`` (by ASHA or because the
            minutes are over) or ``"failed"``.
        curve: (epoch, the objective's metric), in order.
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
        """Whether it is over, well or badly."""
        return self.status != "running"

    def best(self, objective: Objective) -> float | None:
        """The value of its best epoch; None if it failed, whatever its first epochs were."""
        return (
            None if self.status == "failed" else objective.best([value for _, value in self.curve])
        )

    def text(self) -> str:
        """Its values, for people."""
        return ", ".join(f"{key.rsplit('.', 1)[-1]} {shown(v)}" for key, v in self.params.items())


def ranked(trials: list[Trial], objective: Objective) -> list[Trial]:
    """The best first; of equal ones the earlier first; those without a value last."""
    sign = -1 if objective.greater else 1

    def key(trial: Trial) -> tuple[bool, float]:
        value = trial.best(objective)
        return value is None, sign * (value or 0.0)

    return sorted(trials, key=key)


def best_of(trials: list[Trial], objective: Objective) -> Trial | None:
    """The best trial, the first of equal ones; None if none has a value."""
    best = next(iter(ranked(trials, objective)), None)
    return None if best is None or best.best(objective) is None else best


def shown(value: Any) -> str:
    """A value of a config, for people."""
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value)


class TrialStore:
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
            StorageError: a file is not the record of a trial.
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
                f"{self.store.url(path)} is not the record of a trial ({error!r}); delete it, and "
                "the trial is drawn again"
            ) from error

    def write(self, trial: Trial) -> None:
        """Store a trial; replaces its earlier record."""
        data = json.dumps(vars(trial)).encode()
        self.store.publish(f"{self.folder}/trials/{trial.number:05}.json", data)

    def checkpoint(self, number: int) -> str:
        """Path of the checkpoint of a running trial."""
        return f"{self.folder}/checkpoints/{number:05}.pt"

    def minutes(self) -> float:
        """Minutes that the search has taken so far."""
        try:
            return float(json.loads(self.store.read(f"{self.folder}/clock.json"))["minutes"])
        except (StorageError, ValueError, KeyError, TypeError):
            return 0.0

    def write_minutes(self, minutes: float) -> None:
        """Store how many minutes the search has taken."""
        text = json.dumps({"minutes": minutes})
        self.store.publish(f"{self.folder}/clock.json", text.encode())
