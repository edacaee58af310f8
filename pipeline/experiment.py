"""A config and where it lives: its zoo, its training jobs, its run in MLflow."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property

from pipeline.config.config import Config
from pipeline.environment import Environment
from pipeline.zoo_facts import ZooFacts, ZooPath
from training.jobs import TrainingJob
from training.tracking import Tracking
from training.tracking.store import artifact_place
from zoo_gen import (
    ConfigError,
    Recipe,
    Signals,
    Source,
    StorageError,
    TrackingError,
    Zoo,
)
from zoo_gen.recipe.recipe import hash8


class TrackedRun(ABC):
    """What has a run of its own in MLflow, opened at the first use.

    Attributes:
        continued: whether that run existed before; known once it is opened.
    """

    continued: bool = False

    @property
    @abstractmethod
    def tracking(self) -> Tracking:
        """That run."""

    @contextmanager
    def closing(self, only_new: bool = False) -> Iterator[None]:
        """Close the run as the block ends: finished, failed or killed.

        Args:
            only_new: leave a run that existed before as it was.
        """
        status = "FINISHED"
        try:
            yield
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            left = only_new and self.continued
            if "tracking" in vars(self) and not left:  # never opened only to be closed
                with suppress(TrackingError):
                    self.tracking.end(status)


@dataclass
class Experiment(TrackedRun):
    """A config in an environment.

    Attributes:
        config: the settings.
        text: its YAML, for the record.
        environment: where and how it runs.
    """

    config: Config
    text: str
    environment: Environment

    @property
    def recipe_parts(self) -> tuple[Source, Zoo]:
        """Signals and how networks are fitted to them.

        Raises:
            ConfigError: the config uses an existing zoo.
        """
        source, zoo = self.config.source, self.config.zoo
        if isinstance(source, ZooPath) or zoo is None:
            raise ConfigError(f"source: {self.config.name} uses an existing zoo")
        return source, zoo

    @cached_property
    def signals(self) -> Signals:
        """The signals that the networks are made from; read once."""
        source, zoo = self.recipe_parts
        return zoo.fit.visible(source.load(), self.config.limit)

    @cached_property
    def recipe(self) -> Recipe:
        """Of a zoo that this config makes."""
        config, (source, zoo) = self.config, self.recipe_parts
        return Recipe.of(config.zoo_of or config.name, source, self.signals, zoo, config.limit)

    @cached_property
    def facts(self) -> ZooFacts:
        """What is known of the zoo, made by this config or existing."""
        if isinstance(self.config.source, ZooPath):
            return ZooFacts.found(self.environment.store, self.config.source.path)
        return ZooFacts.planned(self.recipe, self.signals)

    @property
    def zoo_url(self) -> str:
        """Where the zoo is stored."""
        folder = self.facts.folder
        elsewhere = folder.startswith("/") or "://" in folder
        return folder if elsewhere else self.environment.store.url(folder)

    @cached_property
    def jobs(self) -> list[TrainingJob]:
        """Every model with every seed, on every number of training networks."""
        config, facts = self.config, self.facts
        return [
            TrainingJob(
                config.name,
                name,
                model.network,
                model.training,
                seed,
                facts.folder,
                config.task_or_default,
                networks,
                facts.hash8,
                None if isinstance(config.source, ZooPath) else config.source,
            )
            for name, model in config.models.items()
            for networks in (config.train_on or (None,))
            for seed in config.seeds
        ]

    @property
    def key(self) -> str:
        """Hash of everything that changes what the experiment reports."""
        return hash8({"zoo": self.facts.hash8, "jobs": [job.hash8 for job in self.jobs]})

    @cached_property
    def tracking(self) -> Tracking:
        """The parent run in MLflow; the store and the run are made at the first use."""
        params = asdict(self.config) | {"tracking": None}  # whose address may hold a password
        params |= {"zoo_folder": self.facts.folder, "members": self.facts.members}
        found = connect_tracking(self.config, self.environment)
        self.continued = found.find(self.key) is not None
        return found.with_parent(self.config.name, self.key, params, self.text)


def connect_tracking(config: Config, environment: Environment) -> Tracking:
    """The config's experiment in MLflow; the store is made at the first use.

    Raises:
        StorageError: there is no place for the embedded store.
        TrackingError: the store cannot be reached.
    """
    store = environment.store
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and not store.is_local:
        raise StorageError(
            f"{store.root}: MLflow's embedded store needs a local root; set "
            "MLFLOW_TRACKING_URI or tracking.uri to a server"
        )
    uri = uri or f"sqlite:///{store.local()}/mlflow.db"
    if artifacts := artifact_place(uri, store):
        store.check_writable()
    with environment.console.status("opening the MLflow store"):
        return Tracking.connect(uri, config.name, artifacts)
