"""Signals whose fits are counted and fail as a script says, in whatever process they run."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen import Digits, Fit, Recipe, Signals, Split, Zoo

FIT = Fit((2, 6, 5, 1), w0=3.0, init="paper", steps=20, learning_rate=0.01)
ZOO = Zoo(FIT, Split(7, 1, 2), views=2, rows_per_shard=8)
SHARDS = 8


def recipe() -> Recipe:
    """64 networks in 8 shards."""
    return Recipe.of("faults", Digits(), Digits().load().limited(32), ZOO)


@dataclass(frozen=True)
class Scripted(Signals):
    """Digits that leave a trace of each attempt to fit a shard, and then do what the script says.

    Attributes:
        folder: of the traces: ``{shard}-{attempt}`` holds process and node of the attempt.
        script: (shard, attempt from 0) -> ``"die"`` (SIGKILL to the own process), ``"wait"``
            (until the file ``go`` is there), or seconds to sleep.
        pace: seconds that each other attempt sleeps.
    """

    folder: str = ""
    script: dict[tuple[int, int], str | float] = field(default_factory=dict)
    pace: float = 0.0

    @classmethod
    def of(cls, folder: Path, script: dict[Any, Any] | None = None, pace: float = 0.0) -> Scripted:
        folder.mkdir(exist_ok=True)
        digits = Digits().load().limited(32)
        return cls(**vars(digits), folder=str(folder), script=script or {}, pace=pace)

    def targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        shard = int(rows[0]) * ZOO.views // ZOO.rows_per_shard
        attempt = 0
        while True:
            try:
                trace = os.open(
                    f"{self.folder}/{shard}-{attempt}", os.O_CREAT | os.O_EXCL | os.O_WRONLY
                )
                break
            except FileExistsError:
                attempt += 1
        os.write(trace, f"{os.getpid()} {node()}".encode())
        os.close(trace)
        act = self.script.get((shard, attempt), self.pace)
        if act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while act == "wait" and not os.path.exists(f"{self.folder}/go"):
            time.sleep(0.02)
        if isinstance(act, float):
            time.sleep(act)
        return super().targets(rows)


def node() -> str:
    """Id of the Ray node this process is on, if any."""
    import ray

    if not ray.is_initialized():
        return "-"
    return str(ray.get_runtime_context().get_node_id())


def attempts(folder: Path) -> dict[int, int]:
    """How often each shard was begun."""
    return dict(sorted(Counter(int(f.name.split("-")[0]) for f in traces(folder)).items()))


def traces(folder: Path) -> list[Path]:
    """Of all attempts."""
    return [f for f in folder.iterdir() if f.name != "go"]


def nodes(folder: Path) -> Counter[str]:
    """How many attempts each Ray node has made."""
    return Counter(f.read_text().split()[1] for f in traces(folder))


def once(**more: int) -> dict[int, int]:
    """Each shard begun once, but for those named: ``once(s3=2)``."""
    return {shard: more.get(f"s{shard}", 1) for shard in range(SHARDS)}
