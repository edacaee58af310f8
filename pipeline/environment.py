"""Where and how a command runs: root, engine, workers, console."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rich.console import Console

from zoo_gen import Store
from zoo_gen.recipe.fit import Fitting

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass
class Environment:
    """Where and how a command runs; nothing in it changes a result.

    Attributes:
        store: the root.
        engine: ``"ray"``, or ``"local"`` for this process alone.
        address: of a Ray cluster; None starts a local Ray.
        workers: processes; None for one per CPU.
        workers_per_model: how many of them share the training of one model.
        fitting: which implementation fits networks; changes them by rounding.
        console: for progress and messages.
    """

    store: Store
    engine: Literal["ray", "local"] = "ray"
    address: str | None = None
    workers: int | None = None
    workers_per_model: int = 1
    fitting: Fitting = "auto"
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @cached_property
    def cpus(self) -> int:
        """CPUs of the Ray session, which is started or joined at the first use."""
        if self.address is None:
            # read as Ray is imported: a Ray of one machine listens on loopback alone
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
        from zoo_gen.make.ray_engine import cluster

        where = f"the Ray cluster at {self.address}" if self.address else "a local Ray"
        with self.console.status(f"starting {where}"):
            return self._stack.enter_context(cluster(self.address, self.workers))

    def echo(self, text: str) -> None:
        """Print a line on standard error."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
