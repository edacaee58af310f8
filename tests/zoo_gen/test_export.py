"""Out and in again: the weights are the same bit for bit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from layouts import LAYOUTS
from safetensors.torch import load_file
from torch import nn

from zoo_gen import Split, StorageError, Store, ZooError, ZooReader
from zoo_gen.exchange.export import KINDS, export_zoo
from zoo_gen.exchange.imports import Import, open_source

AS = {"pth": "folder", "safetensors": "safetensors", "hdf5": "nef-arena"}


def bring(kind: str, src: Path, root: Path) -> ZooReader:
    """An import, run and opened."""
    job = Import(Store(str(root)), "zoo", open_source(kind, src), Split(6, 2, 2), None, 7)
    job.run()
    return ZooReader(job.store, job.folder)


@pytest.fixture(scope="module")
def cnns(tmp_path_factory: pytest.TempPathFactory) -> ZooReader:
    """A zoo of convolutional networks."""
    folder = tmp_path_factory.mktemp("cnns")
    LAYOUTS["unterthiner-cnn"](folder / "src")
    return bring("unterthiner-cnn", folder / "src", folder / "root")


@pytest.fixture
def fitted(zoo_store: Store, recipe) -> ZooReader:  # type: ignore[no-untyped-def]
    """A zoo that was fitted here."""
    return ZooReader(zoo_store, recipe.folder)


def away_and_back(zoo: ZooReader, kind: str, tmp_path: Path) -> ZooReader:
    dst = export_zoo(zoo, tmp_path / ("out.safetensors" if kind == "safetensors" else "out"), kind)
    return bring(AS[kind], dst, tmp_path / "root")


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_networks_come_back(fitted: ZooReader, kind: str, tmp_path: Path) -> None:
    back = away_and_back(fitted, kind, tmp_path)
    assert back.space == fitted.space
    assert torch.equal(back.theta(), fitted.theta())


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_convolutions_come_back(cnns: ZooReader, kind: str, tmp_path: Path) -> None:
    back = away_and_back(cnns, kind, tmp_path)
    assert back.space == cnns.space
    assert torch.equal(back.theta(), cnns.theta())


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_columns_come_back(fitted: ZooReader, kind: str, tmp_path: Path) -> None:
    back = away_and_back(fitted, kind, tmp_path).columns()
    for name, values in fitted.columns().items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype.kind == values.dtype.kind


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_what_networks_compute_comes_back(fitted: ZooReader, kind: str, tmp_path: Path) -> None:
    assert away_and_back(fitted, kind, tmp_path).forward_pass == fitted.forward_pass


def test_what_is_unknown_stays_null(cnns: ZooReader, tmp_path: Path) -> None:
    back = away_and_back(cnns, "pth", tmp_path).frame()
    assert back[["seed", "loss", "steps"]].isna().all().all()
    np.testing.assert_array_equal(
        back["config.dropout"].isna(), cnns.frame()["config.dropout"].isna()
    )


def test_a_sequential_loads_a_pth(cnns: ZooReader, tmp_path: Path) -> None:
    export_zoo(cnns, tmp_path / "out", "pth")
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 3), nn.ReLU(),
        nn.Linear(5, 6),
    )  # fmt: skip
    net.load_state_dict(torch.load(tmp_path / "out" / "net0000003.pth", weights_only=True))
    theta = nn.utils.parameters_to_vector(net.parameters())
    assert torch.equal(theta.detach(), cnns.theta()[3])


def test_safetensors_own_reader_reads_ours(fitted: ZooReader, tmp_path: Path) -> None:
    export_zoo(fitted, tmp_path / "a.safetensors", "safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    split = fitted.space.split(fitted.theta())
    assert torch.equal(tensors["2.weight"], split["W2"].squeeze(-1))
    assert torch.equal(tensors["4.bias"], split["b3"].squeeze(-1))


def test_hdf5_has_kernels_in_by_out(fitted: ZooReader, tmp_path: Path) -> None:
    dst = export_zoo(fitted, tmp_path / "out", "hdf5")
    (path,) = dst.iterdir()
    assert path.name == "small_0-89.hdf5"
    with h5py.File(path) as file:
        first = file["params"][:, : 6 + 12]
    split = fitted.space.split(fitted.theta())
    np.testing.assert_array_equal(first[:, :6], split["b1"].squeeze(-1))
    kernels = first[:, 6:].reshape(90, 2, 6)
    np.testing.assert_array_equal(kernels, split["W1"].squeeze(-1).mT)


def test_hdf5_refuses_convolutions(cnns: ZooReader, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="use pth or safetensors"):
        export_zoo(cnns, tmp_path / "out", "hdf5")


@pytest.mark.parametrize("kind", KINDS)
def test_a_destination_in_use_is_refused(fitted: ZooReader, kind: str, tmp_path: Path) -> None:
    dst = tmp_path / "out"
    if kind == "safetensors":
        dst.write_text("mine")
    else:
        dst.mkdir()
        (dst / "mine").write_text("mine")
    with pytest.raises(StorageError, match="exists"):
        export_zoo(fitted, dst, kind)
    assert [p.name for p in dst.parent.rglob("*")] == (
        ["out"] if kind == "safetensors" else ["out", "mine"]
    )


@pytest.mark.parametrize("kind", ["safetensors", "hdf5"])
def test_an_interrupted_export_leaves_no_half_file(
    fitted: ZooReader, kind: str, tmp_path: Path
) -> None:
    def stop(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_zoo(fitted, tmp_path / "out", kind, stop)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_an_interrupted_pth_export_continues(
    fitted: ZooReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Path] = []
    save = torch.save

    def counted(content: object, path: Path) -> None:
        if len(saved) == 40:
            raise KeyboardInterrupt
        saved.append(path)
        save(content, path)

    monkeypatch.setattr(torch, "save", counted)
    with pytest.raises(KeyboardInterrupt):
        export_zoo(fitted, tmp_path / "out", "pth")
    saved.clear()
    monkeypatch.setattr(
        torch, "save", lambda content, path: (saved.append(path), save(content, path))
    )
    export_zoo(fitted, tmp_path / "out", "pth")
    assert len(saved) == 50
    assert torch.equal(bring("folder", tmp_path / "out", tmp_path / "root").theta(), fitted.theta())


def test_an_incomplete_zoo_is_not_exported(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "src")
    zoo = bring("folder", tmp_path / "src", tmp_path / "root")
    zoo.store.local(zoo.path("shards/part-00001.parquet")).unlink()
    with pytest.raises(ZooError, match="1 shards are missing"):
        export_zoo(zoo, tmp_path / "out", "pth")
