"""MLflow's registry: the best model of a report under a name, models found again by any name."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.results import MODEL_FILE
from training.tracking.runs import Tracking
from training.tracking.store import client_of, fluent, shown, store_errors
from zoo_gen import ModelError

CHAMPION = "champion"
RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name, version: of it.
        before: the version that was the champion until now, None if there was none or it is this.
    """

    name: str
    version: str
    before: str | None


def register(
    tracking: Tracking, run: str, name: str, tags: dict[str, str], text: str
) -> Registered:
    """Register the model that a run logged, and make it the champion. Twice does what once does.

    Args:
        tracking: the store.
        run: id of the run.
        name: of the registered model.
        tags: of the version, such as its metrics and zoo.
        text: Markdown that describes the version.

    Raises:
        TrackingError: the store cannot be reached.
        ModelError: the run has no model.
    """
    # the client looks for the model in the store that MLflow speaks to now
    with store_errors(tracking.uri), fluent(tracking.uri):
        client = client_of(tracking.uri)
        if name not in _names(client):
            client.create_registered_model(name)
        model = _model_of(client, run, shown(tracking.uri))
        versions = client.search_model_versions(f"name = '{name}'")
        found = next((v for v in versions if v.run_id == run), None)
        if found is None:
            found = client.create_model_version(
                name, f"models:/{model}", run, tags=tags, description=text, model_id=model
            )
        before = client.get_registered_model(name).aliases.get(CHAMPION)
        client.set_registered_model_alias(name, CHAMPION, found.version)
        changed = before is not None and str(before) != str(found.version)
        return Registered(name, str(found.version), str(before) if changed else None)


def registered(uri: str) -> list[str]:
    """Names of all registered models.

    Raises:
        TrackingError: the store cannot be reached.
    """
    with store_errors(uri):
        return _names(client_of(uri))


def fetch(uri: str, model: str) -> tuple[str, bytes]:
    """The file of a model in an MLflow store.

    Args:
        uri: of the store.
        model: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, a registered name (its champion,
            else its newest version), ``runs:/ID`` or the id of a run.

    Returns:
        What it is, for messages, and the file's content.

    Raises:
        ModelError: there is no such model; names the nearest and those that are there.
        TrackingError: the store cannot be reached.
    """
    with store_errors(uri):
        client = client_of(uri)
        run = model.removeprefix("runs:/").split("/")[0]
        if model.startswith("runs:/") or RUN.fullmatch(model):
            what, logged = f"run {run}", _model_of(client, run, shown(uri))
        else:
            found = _version(client, model, shown(uri))
            what, logged = f"{found.name} version {found.version}", found.model_id
            logged = logged or _model_of(client, found.run_id, shown(uri))
        place = client.get_logged_model(logged).artifact_location
        with fluent(uri) as mlflow:
            kept = {
                f.path.rsplit("/", 1)[-1]
                for f in client.list_logged_model_artifacts(logged, "extra_files")
            }
            if MODEL_FILE not in kept:
                raise ModelError(
                    f"{what} was logged without {MODEL_FILE}, by an older dwszoo; `dwszoo train` "
                    "with its config and --root, in another MLflow store, logs it anew"
                )
            path = mlflow.artifacts.download_artifacts(f"{place}/extra_files/{MODEL_FILE}")
        return what, Path(path).read_bytes()


def _version(client: Any, model: str, store: str) -> Any:
    """The version that is meant."""
    word = model.removeprefix("models:/")
    name, at, alias = word.partition("@")
    name, slash, number = name.partition("/") if not at else (name, "", "")
    known = _names(client)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ModelError(
            f"{model}: no registered model {name!r}{hint}; {store} has "
            f"{', '.join(known) or 'none: `dwszoo report CONFIG --register` makes one'}"
        )
    aliases = client.get_registered_model(name).aliases
    versions = {str(v.version): v for v in client.search_model_versions(f"name = '{name}'")}
    if at:
        number = str(aliases.get(alias, ""))
    elif not slash:
        number = str(aliases.get(CHAMPION) or max(versions, key=int, default=""))
    if number not in versions:
        there = ", ".join(versions) or "none"
        marked = "".join(f"; @{key} is version {value}" for key, value in aliases.items())
        raise ModelError(f"{model}: there is no such version; {name} has {there}{marked}")
    return versions[number]


def _names(client: Any) -> list[str]:
    """All registered models."""
    names, token = [], None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        names += [found.name for found in page]
        if not (token := page.token):
            return sorted(names)


def _model_of(client: Any, run: str, store: str) -> str:
    """Id of the model that a run logged last.

    Raises:
        ModelError: there is no such run, or it has none.
    """
    from mlflow.exceptions import MlflowException

    try:
        outputs = client.get_run(run).outputs
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ModelError(
            f"run {run}: there is none in {store}; `mlflow ui` shows those there"
        ) from error
    models = outputs.model_outputs if outputs else []
    if not models:
        raise ModelError(
            f"run {run} has no model: give the run of one model and seed (a child), not a parent"
        )
    return str(models[-1].model_id)
