"""How the members of a zoo are made: what plans, readers and engines ask, whatever the kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dws import WeightSpace
from zoo_gen.errors import ZooError
from zoo_gen.recipe.architectures import Architecture
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.recipe.scores import Scores
from zoo_gen.recipe.split import Split
from zoo_gen.sources import Signals

FORMAT = 1
"""Of the columns of every zoo, and of how rows follow from a recipe; part of every hash."""


class Maker(ABC):
    """How members are made: a frozen dataclass, the part ``zoo.fit`` of a config.

    Its fields are hyper-parameters and enter the zoo's hash; its methods say what members are. The
    work itself is done by `zoo_gen.make.members`, by kind.

    Members come in *groups* of `views`: all fits of one signal, or all snapshots of one training.

    Attributes:
        kind: its name in a config.
        format: `FORMAT`, or a later one of this kind; part of every hash.
        per_signal: whether a group belongs to one signal, whose split and columns its members have.
    """

    kind: str
    format: ClassVar[int]
    per_signal: ClassVar[bool]

    @classmethod
    def read(cls, plain: dict[str, Any], groups: int) -> Self:
        """From plain data, as in ``zoo.json``, of a zoo of so many groups.

        Raises:
            ValueError: it describes no such maker.
        """
        from pydantic import TypeAdapter  # here: nothing else of this package needs it

        read: Self = TypeAdapter(cls).validate_python(plain)
        return read

    @abstractmethod
    def views(self, views: int, rows_per_shard: int) -> int:
        """Members of a group.

        Args:
            views: as the config gives it.
            rows_per_shard: of the zoo.

        Raises:
            ConfigError: either does not suit.
        """

    @abstractmethod
    def visible(self, signals: Signals, limit: int | None) -> Signals:
        """The signals that members are made from, if ``limit`` groups are made.

        Args:
            signals: all of the source.
            limit: groups, the first; None for all.
        """

    @abstractmethod
    def groups(self, signals: Signals, limit: int | None) -> int:
        """How many groups are made from the visible signals.

        Raises:
            ConfigError: members of this kind cannot be made from such signals, or not so many.
        """

    @abstractmethod
    def space_of(self, signals: Signals) -> WeightSpace:
        """The weight space of members made from these signals."""

    def torch_shapes(self, space: WeightSpace) -> dict[str, tuple[int, ...]] | None:
        """Tensor -> its shape as torch has it; None for MLPs, which their widths describe."""
        return None

    def splits(self, split: Split, signals: Signals, groups: int) -> npt.NDArray[np.str_]:
        """The split of each group: by default that of its signal.

        Raises:
            ConfigError: a split would be empty.
        """
        return split.assign(signals)

    def seed_index(self, member: int, views: int) -> int:
        """What the seed of a member's initialisation is derived from, beside the zoo's seed."""
        return member

    @abstractmethod
    def columns(self, signals: Signals) -> tuple[str, ...]:
        """Columns of the rows beside those of every zoo."""

    def label_count(self, signals: Signals) -> int | None:
        """One more than the greatest ``label`` of a member, None where members have none."""
        return None

    @property
    def forward_pass(self) -> ForwardPass:
        """What members compute, as far as that is the same for all."""
        return UNKNOWN

    @property
    @abstractmethod
    def members_are(self) -> str:
        """What members are, in the plural, for messages: ``"networks of images"``."""

    @property
    def coordinates(self) -> int:
        """Coordinates of a point that members take: 2 of images; 0 if they take no points."""
        return 0

    @property
    def pair_architecture(self) -> Architecture | None:
        """The architecture of classifiers of two classes each; None of others."""
        return None

    @property
    def divergence_remedy(self) -> str | None:
        """What to change where many members diverge; None if that is no reason to stop."""
        return None

    def gpu_operations(self, members: int, points: int) -> float:
        """Floating-point operations that a GPU could take over, of a zoo of so many members."""
        return 0.0

    def evaluate(
        self, space: WeightSpace, theta: Tensor, columns: dict[str, Any], images: Any, labels: Any
    ) -> Scores:
        """Loss and accuracy of members on labelled images (`zoo_gen.recipe.scores`).

        Raises:
            ZooError: members are no classifiers.
        """
        raise ZooError(
            f"these are {self.members_are}, not classifiers (`zoo.fit.kind: classifier`)"
        )
