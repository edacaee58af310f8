"""Zoos and trained models, found by the names that people type."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.files import nearest
from zoo_gen import ModelError, Store, ZooError, ZooReader, open_zoo

if TYPE_CHECKING:
    from training.model_file import TrainedModel

ZOO_FOLDER = re.compile(r"-[0-9a-f]{8}$")
FOLDER = re.compile(r"((.+)-seed\d+)-[0-9a-f]{8}")


def find_zoo(store: Store, name: str) -> ZooReader:
    """A zoo by its folder (local or S3), or by its name or the start of it below the root.

    A zoo of exactly this name is found although the names of others begin so.

    Raises:
        ZooError: there is none, or several; names those that exist.
    """
    if "://" in name or (Path(name) / "zoo.json").is_file():
        return open_zoo(name)
    known = store.names("zoos")
    found = (
        [zoo for zoo in known if zoo == name]
        or [zoo for zoo in known if ZOO_FOLDER.sub("", zoo) == name]
        or [zoo for zoo in known if zoo.startswith(name)]
    )
    if len(found) == 1:
        return ZooReader(store, f"zoos/{found[0]}")
    if found:
        raise ZooError(f"{name}: several zoos begin so; give one of {', '.join(found)}")
    if known:
        raise ZooError(
            f"{name}: no zoo of this name in {store.root}; give one of {', '.join(known)}, or the "
            "folder of a zoo"
        )
    raise ZooError(
        f"{name}: {store.root} holds no zoo; give another --root, or the folder of a zoo"
    )


def find_model(store: Store, name: str, tracking: str | None) -> tuple[TrainedModel, str]:
    """A model by file, folder, MLflow run, registered version, or CONFIG-MODEL.

    Args:
        store: the root.
        name: as a person gave it.
        tracking: address of the MLflow store; None for ``MLFLOW_TRACKING_URI`` or the root's own.

    Returns:
        The model, and where it was found.

    Raises:
        ModelError: there is none, or its file cannot be used.
        TrackingError: the MLflow store cannot be reached.
    """
    from training.model_file import decode
    from training.results import MODEL_FILE

    inside = (Path(name) / MODEL_FILE).is_file()  # a folder below models/
    if "://" in name or name.endswith(".safetensors") or Path(name).is_file() or inside:
        file = f"{name.rstrip('/')}/{MODEL_FILE}" if inside else name
        place, base = Store.around(file)
        if not place.exists(base):
            raise ModelError(f"{name}: there is no such file")
        return decode(place.read(base), file), file
    uri = tracking or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and store.is_local and store.exists("mlflow.db"):
        uri = f"sqlite:///{store.local()}/mlflow.db"
    from training.tracking.registry import RUN, fetch, registered

    if ":/" not in name and not RUN.fullmatch(name):
        known = registered(uri) if uri else []
        if name not in known:
            if found := model_below(store, name):
                return found
            known = sorted({*known, *model_names(store)})
            raise ModelError(
                f"{name}: there is no such file, and no model of this name{nearest(name, known)}; "
                f"known here: "
                f"{', '.join(known) or 'none (--root is another, or `dwszoo run` trains some)'}"
            )
    if uri is None:
        raise ModelError(
            f"{name}: {store.root} has no MLflow store; give --root, or --tracking with the "
            "address of an MLflow server"
        )
    source, content = fetch(uri, name)
    return decode(content, source), source


def model_names(store: Store) -> list[str]:
    """CONFIG-MODEL of all models below the root."""
    found = map(FOLDER.fullmatch, store.names("models"))
    return list(dict.fromkeys(match[2] for match in found if match))


def model_below(store: Store, name: str) -> tuple[TrainedModel, str] | None:
    """A model below the root, and its file; registered or not.

    Args:
        store: the root.
        name: of the model's folder below ``models/``, with or without its hash; or CONFIG-MODEL
            for the seed that is best on validation networks.

    Raises:
        ModelError: several models of this name differ in more than the seed.
    """
    from training import results

    matches = [m for m in map(FOLDER.fullmatch, store.names("models")) if m]
    folders = [m[0] for m in matches if name in m.group(0, 1, 2)]
    folders = [f for f in folders if store.exists(f"models/{f}/result.json")]
    if not folders:
        return None
    stored = {folder: results.read_at(store, f"models/{folder}") for folder in folders}
    settings = {f: results.flat({**s, "seed": 0}) for f, (s, _) in stored.items()}
    if differing := _differing(list(settings.values())):
        kinds = [
            f"{folder} ({', '.join(f'{key}={values.get(key)}' for key in differing)})"
            for folder, values in settings.items()
        ]
        raise ModelError(
            f"{name}: models of several settings have this name; give one of {', '.join(kinds)}"
        )
    scores = {f: result.validation[f"val_{result.main}"] for f, (_, result) in stored.items()}
    main = _read(store, folders[0]).task.main
    best = max(folders, key=lambda folder: main.merit(scores[folder]))
    chosen = f", best on validation of {len(folders)} seeds" if len(folders) > 1 else ""
    return _read(store, best), f"{store.url(f'models/{best}')}{chosen}"


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    """The keys that do not have one value in all."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _read(store: Store, folder: str) -> TrainedModel:
    from training.model_file import decode
    from training.results import MODEL_FILE

    path = f"models/{folder}/{MODEL_FILE}"
    return decode(store.read(path), store.url(path))
