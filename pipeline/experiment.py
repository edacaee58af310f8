"""Where the runs of a config are tracked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.config.config import Config
from pipeline.environment import Workplace
from training.tracking import Tracking
from training.tracking.store import artifact_place
from zoo_gen import StorageError, TrackingError


class Tracked(ABC):
    """What has a run of its own in MLflow, opened at the first use.

    Attributes:
        continued: whether that run was there before; known as it is opened.
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
            only_new: leave one that was there before as it was: what is done here is no part of it.
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


def experiment(config: Config, place: Workplace) -> Tracking:
    """The config's experiment in MLflow; the store is made at the first use.

    Raises:
        StorageError: there is no place for the embedded store.
        TrackingError: the store cannot be reached.
    """
    store = place.store
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and not store.is_local:
        raise StorageError(
            f"{store.root}: MLflow's embedded store needs a local root; set "
            "MLFLOW_TRACKING_URI or tracking.uri to a server"
        )
    uri = uri or f"sqlite:///{store.local()}/mlflow.db"
    if artifacts := artifact_place(uri, store):
        store.check_writable()
    with place.console.status("opening the MLflow store"):
        return Tracking.connect(uri, config.name, artifacts)
