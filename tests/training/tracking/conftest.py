"""A finished training and its run, for the tests that look at one."""

from __future__ import annotations

import pytest

from training.local_engine import train_locally
from training.tracking import Tracking
from zoo_gen import Store


@pytest.fixture(scope="session")
def trained(root: Store, job, tmp_path_factory):
    """One job done without Ray, its tracking and the client."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking.connect(f"sqlite:///{folder}/mlflow.db", "tests", folder / "mlartifacts")
    tracking = tracking.with_parent("parent", "key", {"a": {"b": [1, 2]}}, "config: text")
    one = job(kind="dwsnet", seed=7)
    train_locally(root, [one], tracking, lambda job, epoch, record: None)
    client = MlflowClient(tracking.uri)
    return one, tracking, client, client.get_run(tracking.find(one.hash8, finished=True))
