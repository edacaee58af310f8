"""Which signals, or runs, are for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError
from zoo_gen.sources import Signals, proportional
from zoo_gen.sources.base import at_least

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """How signals are divided, by signal, so that all views of one are on one side.

    The numbers are shares: exact counts where they sum to the number of signals. Where a source
    has its own test part, that part is the test split, and ``train : val`` divides the rest.

    Attributes:
        train, val, test: shares, 1 or more.
        seed: of the order in which signals are dealt.
    """

    train: int
    val: int
    test: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in SPLITS:
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)

    def assign(self, signals: Signals) -> npt.NDArray[np.str_]:
        """The split of each signal.

        Raises:
            ConfigError: a split would be empty.
        """
        return self.deal(signals.part, "signals")

    def deal(self, part: npt.NDArray[np.str_], what: str) -> npt.NDArray[np.str_]:
        """The split of each of some things.

        Args:
            part: ``"test"`` for those that the source keeps for testing; where there are any, they
                are the test split.
            what: they are, for the message.

        Raises:
            ConfigError: a split would be empty.
        """
        order = np.random.default_rng(self.seed).permutation(len(part))
        own_test = part == "test"
        if own_test.any():
            rest = order[~own_test[order]]
            shares = {"train": self.train, "val": self.val}
        else:
            rest = order
            shares = {name: getattr(self, name) for name in SPLITS}
        assigned = np.full(len(part), "test", dtype="<U5")
        counts = proportional(list(shares.values()), len(rest))
        ends = np.cumsum(counts)
        for name, end, count in zip(shares, ends, counts, strict=True):
            assigned[rest[end - count : end]] = name
        for name in SPLITS:
            if not (assigned == name).any():
                raise ConfigError(
                    f"zoo.split: {len(part)} {what} leave the {name} split empty "
                    f"(shares {self.train}/{self.val}/{self.test}); use more {what}"
                )
        return assigned
