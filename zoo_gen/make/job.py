"""What the work on any shard of a zoo is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen.recipe.fit import Fitting
from zoo_gen.recipe.recipe import Recipe
from zoo_gen.sources import Signals
from zoo_gen.zoo.store import Store

Progress = Callable[[int], None]
"""Called with the number of networks fitted so far."""


@dataclass(frozen=True)
class ShardJob:
    """What a task needs to make any shard of one zoo; ``fitting`` changes rows by rounding."""

    store: Store
    recipe: Recipe
    signals: Signals
    description: dict[str, Any]
    fitting: Fitting = "auto"

    @cached_property
    def assigned(self) -> npt.NDArray[np.str_]:
        """The split of each signal, of classifiers of each run; travels with the job once known."""
        return self.recipe.assigned(self.signals)
