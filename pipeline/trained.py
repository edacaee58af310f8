"""Trained models below a root, found by name whether they are registered or not."""

from __future__ import annotations

import re
from typing import Any

from training import results
from training.model_file import TrainedModel, decode
from zoo_gen import ModelError, Store

FOLDER = re.compile(r"((.+)-seed\d+)-[0-9a-f]{8}")


def trained_names(store: Store) -> list[str]:
    """CONFIG-MODEL of all that is there."""
    found = map(FOLDER.fullmatch, store.names("models"))
    return list(dict.fromkeys(match[2] for match in found if match))


def trained_model(store: Store, name: str) -> tuple[TrainedModel, str] | None:
    """A model and its file.

    Args:
        store: the root.
        name: of the model's folder below ``models/``, with or without its hash; or CONFIG-MODEL
            for the seed that is best on validation networks.

    Raises:
        ModelError: several models are so named that differ in more than the seed.
    """
    matches = [m for m in map(FOLDER.fullmatch, store.names("models")) if m]
    folders = [m[0] for m in matches if name in m.group(0, 1, 2)]
    folders = [f for f in folders if store.exists(f"models/{f}/result.json")]
    if not folders:
        return None
    told = {folder: results.read_at(store, f"models/{folder}") for folder in folders}
    wishes = {f: results.flat({**settings, "seed": 0}) for f, (settings, _) in told.items()}
    if differing := _differing(list(wishes.values())):
        kinds = [
            f"{folder} ({', '.join(f'{key}={wish.get(key)}' for key in differing)})"
            for folder, wish in wishes.items()
        ]
        raise ModelError(
            f"{name}: models of several settings are so named; give one of {', '.join(kinds)}"
        )
    scores = {f: result.validation[f"val_{result.main}"] for f, (_, result) in told.items()}
    main = _read(store, folders[0]).task.main
    best = max(folders, key=lambda folder: main.merit(scores[folder]))
    chosen = f", best on validation of {len(folders)} seeds" if len(folders) > 1 else ""
    return _read(store, best), f"{store.url(f'models/{best}')}{chosen}"


def _differing(wishes: list[dict[str, Any]]) -> list[str]:
    """The keys that do not have one value in all."""
    keys = dict.fromkeys(key for wish in wishes for key in wish)
    return [key for key in keys if any(wish.get(key) != wishes[0].get(key) for wish in wishes)]


def _read(store: Store, folder: str) -> TrainedModel:
    path = f"models/{folder}/{results.MODEL_FILE}"
    return decode(store.read(path), store.url(path))
