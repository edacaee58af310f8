"""Access to an MLflow store: short timeouts, retries where it is away, errors in one line."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo_gen import DwszooError, Store, TrackingError
from zoo_gen.retry import RETRY_SECONDS, Result, retry

AWAY = ("failed with timeout", "Max retries exceeded", "database is locked")
# two who write one row at once, or one who asks again before the first answer: by then it is there
RACES = ("UNIQUE constraint failed", "UniqueViolation", "duplicate key value")
DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")
FILE = "sqlite:///"
PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*@")


def client_of(uri: str) -> Any:
    """A client of the store; configured to be brief and to give up in seconds.

    Whoever wants patience asks `waited`.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # a model of a run that somebody else wrote is not unpickled (ours are exported programs)
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    # it would print the address of each run that ends, with whatever password is in it
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # the import of mlflow sets them to INFO
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(uri)


def artifact_place(uri: str, store: Store) -> Path | str | None:
    """Where artifacts go: below the root, of a database; None of a server, which knows a place.

    By default MLflow puts those of a database into whatever folder it is called from.
    """
    if not uri.startswith(DATABASES):
        return None
    return store.local("mlartifacts") if store.is_local else store.url("mlartifacts")


@contextmanager
def fluent(uri: str) -> Iterator[Any]:
    """MLflow, speaking to this store; left alone it would put the address into the environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield mlflow
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """While no other process does the same: MLflow makes the tables of a new SQLite file in many
    steps, and who comes between them fails. A lock on the folder leaves no file behind.
    """
    folder = Path(uri.removeprefix(FILE)).parent
    if not uri.startswith(FILE) or not folder.is_dir():
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that has no locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, SQLAlchemy and requests raise into one readable line."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        known = type(error).__module__.split(".")[0] in (
            "mlflow",
            "sqlalchemy",
            "requests",
            "alembic",
        )
        if not (known or isinstance(error, OSError | ImportError)):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TrackingError(
            f"the MLflow store {shown(uri)} cannot be used: {shown(reason)}; check that it runs "
            "and MLFLOW_TRACKING_URI, or unset it for the embedded store"
        ) from error


def waited(uri: str, action: Callable[[], Result]) -> Result:
    """Something asked of a store that has answered before, again where it is away for a while.

    Raises:
        TrackingError: it stays away, or it has another reason to refuse.
    """

    def once() -> Result:
        with store_errors(uri):
            return action()

    return retry(once, _away, RETRY_SECONDS)


def _away(error: DwszooError) -> bool:
    """Whether a server is out of reach or overloaded, a database locked, or a row was raced for."""
    cause = error.__cause__
    status = getattr(cause, "get_http_status_code", lambda: 0)()
    return (
        isinstance(cause, ConnectionError | TimeoutError)
        or status in (429, 502, 503, 504)
        or any(words in str(cause) for words in AWAY + RACES)
    )


def shown(text: str) -> str:
    """The same without the credentials of addresses in it."""
    return PASSWORD.sub("***@", text)
