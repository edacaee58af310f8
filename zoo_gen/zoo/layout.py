"""The files of a zoo: ``zoo.json``, and shards by number."""

from __future__ import annotations

import json
import platform
from typing import Any

import numpy as np
import torch

from dws import WeightSpace
from zoo_gen.errors import ZooError
from zoo_gen.recipe.recipe import Recipe
from zoo_gen.zoo import shards
from zoo_gen.zoo.description import describe_space
from zoo_gen.zoo.store import Store


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"part-{shard:05d}.parquet"


def missing_shards(store: Store, recipe: Recipe) -> list[int]:
    """The shards of a zoo that are not published yet."""
    there = set(store.names(f"{recipe.folder}/shards"))
    return [i for i in range(recipe.shards) if shard_name(i) not in there]


def describe(store: Store, recipe: Recipe, space: WeightSpace) -> dict[str, Any]:
    """The content of ``zoo.json``: read, or written now.

    Raises:
        ZooError: it is there, of another recipe.
    """
    path = f"{recipe.folder}/zoo.json"
    if store.exists(path):
        description = read_description(store, recipe.folder)
        if (
            description.get("hash8") != recipe.hash8
            or description.get("recipe") != recipe.as_dict()
        ):
            raise ZooError(
                f"{store.url(path)} was made by another recipe (hash {description.get('hash8')}, "
                f"this one is {recipe.hash8}); move that folder away or choose another name"
            )
        return description
    description = {
        "format": recipe.format,
        "checksum": shards.SEALED,
        "hash8": recipe.hash8,
        "recipe": recipe.as_dict(),
        "space": describe_space(recipe, space),
        "members": recipe.members,
        "shards": recipe.shards,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "numpy": np.__version__,
        },
    }
    store.publish(path, json.dumps(description, indent=2).encode())
    return description


def read_description(store: Store, folder: str) -> dict[str, Any]:
    """``zoo.json`` of a folder.

    Raises:
        ZooError: it is missing or not JSON.
    """
    path = f"{folder}/zoo.json" if folder else "zoo.json"
    if not store.exists(path):
        raise ZooError(
            f"{store.url(folder)} is not a zoo: it has no zoo.json; `dwszoo generate` makes one"
        )
    try:
        description = json.loads(store.read(path))
    except ValueError as error:
        raise ZooError(
            f"{store.url(path)} is not readable JSON ({error}); delete it and "
            "`dwszoo generate` writes it again"
        ) from error
    if not isinstance(description, dict):
        raise ZooError(f"{store.url(path)} does not describe a zoo")
    return description
