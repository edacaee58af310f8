"""What is trained: one model with one seed on one zoo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.models import Network
from training.settings import Training
from training.tasks import Classify, Task
from zoo_gen import Source
from zoo_gen.recipe.recipe import hash8, hashed

FORMAT = 1


@dataclass(frozen=True)
class TrainingJob:
    """One model with one seed on one zoo.

    Attributes:
        config: name of the config, for people.
        model: name of the model in the config, for people.
        network: what is built.
        training: how it is trained.
        seed: of initialisation, order and augmentation.
        zoo: folder of the zoo below the root, or the path or address of one elsewhere.
        task: what is learned.
        networks: how many of the training networks are used, the first; None for all.
        zoo_hash: of the zoo, where its folder's name does not end in it.
        source: of its signals, for tasks that take them; which is part of the zoo's hash.
    """

    config: str
    model: str
    network: Network
    training: Training
    seed: int
    zoo: str
    task: Task = field(default_factory=Classify)
    networks: int | None = None
    zoo_hash: str = ""
    source: Source | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the result, as plain data."""
        settings = {
            "network": hashed(self.network),
            "training": hashed(self.training),
            "seed": self.seed,
            "zoo": self.zoo_hash or self.zoo.rsplit("-", 1)[-1],
            **self.task.settings,
        }
        return settings if self.networks is None else settings | {"networks": self.networks}

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits over the settings."""
        return hash8({"format": FORMAT, **self.settings})

    @property
    def zoo_name(self) -> str:
        """For people: the zoo's folder without its hash."""
        return self.zoo.rstrip("/").rsplit("/", 1)[-1].removesuffix(f"-{self.settings['zoo']}")

    @property
    def title(self) -> str:
        """For people."""
        count = "" if self.networks is None else f" on {self.networks:,} networks"
        return f"{self.model}{count} seed {self.seed}"

    @property
    def model_input(self) -> str:
        """For people: which weights the tracked model takes."""
        if self.training.prepare == "align":
            return "aligned to the mean of the training networks (dws.align)"
        return "as they are in the zoo"

    @property
    def folder(self) -> str:
        """Where the result is stored, below the root."""
        return f"models/{self.config}-{self.model}-seed{self.seed}-{self.hash8}"
