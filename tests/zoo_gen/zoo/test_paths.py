"""What files of others tell cannot lead out of the folder that was given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from zoo_gen import LocalEngine, Recipe, Signals, StorageError, Store, ZooReader
from zoo_gen.errors import SourceError
from zoo_gen.exchange.export import export_zoo
from zoo_gen.exchange.imports import open_source
from zoo_gen.make.generate import generate
from zoo_gen.zoo.shards import decode, encode

LEADS_OUT = ["../outside", "shards/../../outside", "a/../../../outside", "/outside", ".."]


@pytest.mark.parametrize("path", LEADS_OUT)
@pytest.mark.parametrize("root", ["local", "s3://bucket/root"])
def test_no_path_of_a_store_leads_out_of_its_root(root: str, path: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root") if root == "local" else root)
    for ask in (store.read, store.exists, store.names, store.remove, store.url):
        with pytest.raises(StorageError, match=r"leads out of .*root"):
            ask(path)
    with pytest.raises(StorageError, match="leads out of"):
        store.publish(path, b"")
    assert not list(tmp_path.iterdir())


def rename(zoo: ZooReader, store: Store, name: str) -> ZooReader:
    """The same zoo with another name in its description and shards, as another may have made it."""
    description: dict[str, Any] = json.loads(store.read(zoo.path("zoo.json")))
    description["recipe"]["name"] = name
    store.publish(zoo.path("zoo.json"), json.dumps(description).encode())
    for shard in store.names(zoo.path("shards")):
        columns, _ = decode(store.read(zoo.path(f"shards/{shard}")), shard)
        store.publish(zoo.path(f"shards/{shard}"), encode(columns, description))
    return ZooReader(store, zoo.folder)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/b", "..\\outside"])
@pytest.mark.parametrize("kind", ["pth", "safetensors", "hdf5"])
def test_the_name_of_a_zoo_does_not_choose_where_an_export_goes(
    kind: str, name: str, tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    store = Store(str(tmp_path / "root"))
    generate(store, recipe, signals, LocalEngine())
    zoo = rename(ZooReader(store, recipe.folder), store, name)
    made = tmp_path / "there" / "export"
    export_zoo(zoo, made, kind)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root", "there"]
    assert [p.name for p in made.parent.iterdir()] == ["export"]
    if kind == "hdf5":
        (file,) = made.iterdir()
        with h5py.File(file) as content:
            assert "params" in content


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three networks, and one that lies beside their folder."""
    for name in ("in/a", "in/b", "in/c", "secret"):
        file = tmp_path / f"{name}.pth"
        file.parent.mkdir(exist_ok=True)
        torch.save({"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}, file)
    return tmp_path / "in"


@pytest.mark.parametrize("path", ["../secret.pth", "{0}/secret.pth", "a/../../secret.pth"])
def test_splits_name_no_file_outside_the_source(path: str, source: Path) -> None:
    told = {"train": [path.format(source.parent)], "val": ["a.pth"], "test": ["b.pth"]}
    (source / "splits.json").write_text(json.dumps(told))
    with pytest.raises(SourceError, match="names 1 of 3 files that are missing or ambiguous"):
        open_source("dwsnets-fashion", source)


@pytest.mark.parametrize("path", ["../secret.pth", "{0}/secret.pth"])
def test_labels_name_no_file_outside_the_source(path: str, source: Path) -> None:
    (source / "labels.csv").write_text(f"file,label\n{path.format(source.parent)},1\n")
    with pytest.raises(SourceError, match="1 of 1 labels match no file"):
        open_source("folder", source)
