"""Where the runs of a config are tracked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.config import Config
from training.tracking import Tracking
from training.tracking.store import artifact_place
from zoo_gen import StorageError

if TYPE_CHECKING:
    from pipeline.steps import Workplace


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
