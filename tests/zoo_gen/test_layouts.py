"""Exports: every format and layout with every activation, there and back; against the images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dws import WeightSpace
from tests.zoo_gen.layouts import save
from tests.zoo_gen.test_imports import SPLIT
from zoo_gen import (
    Digits,
    Fit,
    ForwardPass,
    Idx,
    LocalEngine,
    Recipe,
    Signals,
    Split,
    StorageError,
    Store,
    Zoo,
    ZooError,
    ZooReader,
    generate,
)
from zoo_gen.exchange.export import export_zoo
from zoo_gen.exchange.imports import Import, open_source
from zoo_gen.exchange.layouts import PEERS, convert, converted, export_layout

FORMATS = {"pth": "folder", "safetensors": "safetensors", "hdf5": "nef-arena"}
LAYOUTS = {name: "nfn-siren" if name == "nfn" else "dwsnets-mnist" for name in PEERS}
COMPUTED = {
    "sine": ForwardPass("sine", 30.0, 0.5, grid="ij"),
    "slow sine": ForwardPass("sine", 12.0, 0.25, grid="xy"),
    "plain bias": ForwardPass("sine", 30.0, 0.5, scaled_bias=False, grid="ij"),
    "tanh": ForwardPass("tanh", 30.0, 0.5, grid="ij"),
    "relu, odds": ForwardPass("relu", output="sigmoid", grid="ij"),
    "gelu, encoded": ForwardPass("gelu", fourier_features=2, fourier_scale=3.0, grid="ij"),
    "unknown": ForwardPass(),
}
X = np.random.default_rng(0).uniform(-1, 1, (30, 2)).astype(np.float32)


def made(folder: Path, how: ForwardPass, views: int = 1) -> ZooReader:
    """A zoo of 24 networks of random weights that compute this."""
    torch.manual_seed(0)
    inputs = 2 * how.fourier_features or 2
    names = [f"net{i}.pth" for i in range(24)]
    for name in names:
        net = nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh())
        net.append(nn.Linear(4, 1))
        save({n: 0.3 * x for n, x in net.state_dict().items()}, folder / "src" / name)
    table = {
        "file": names,
        "label": [i // views % 10 for i in range(24)],
        "signal": [3 * (i // views) for i in range(24)],
        "split": [["train", "test", "val", "train"][i // views % 4] for i in range(24)],
    }
    pd.DataFrame(table).to_csv(folder / "src" / "labels.csv", index=False)
    return brought("folder", folder / "src", folder / "root", how)


def brought(kind: str, src: Path, root: Path, how: ForwardPass | None = None) -> ZooReader:
    job = Import(Store(str(root)), "zoo", open_source(kind, src), SPLIT, how, 10)
    job.run()
    return ZooReader(job.store, job.folder)


def order_in(layout: str, zoo: ZooReader) -> np.ndarray:
    """Members as a layout counts them: those of nfn run through the splits, test images last."""
    columns = zoo.columns()
    part = columns["split"] == "test"
    if layout == "nfn":
        part = np.array([["train", "val", "test"].index(s) for s in columns["split"]])
    return np.lexsort((columns["signal"], part))


@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_keeps_weights_and_what_networks_compute(
    kind: str, computed: str, tmp_path: Path
) -> None:
    zoo = made(tmp_path, COMPUTED[computed])
    dst = tmp_path / ("out.safetensors" if kind == "safetensors" else "out")
    back = brought(FORMATS[kind], export_zoo(zoo, dst, kind), tmp_path / "back")
    assert back.forward_pass == zoo.forward_pass
    assert torch.equal(back.theta(), zoo.theta())
    if computed == "unknown":
        with pytest.raises(ZooError, match=r"activation of these networks is not known.*--activat"):
            back.draw(3, X)
    else:
        assert torch.equal(back.draw(3, X), zoo.draw(3, X))


@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_keeps_functions_labels_and_splits(
    layout: str, computed: str, tmp_path: Path
) -> None:
    zoo, target = made(tmp_path, COMPUTED[computed]), PEERS[layout].forward_pass
    exported = export_layout(zoo, tmp_path / "out", layout)
    back = brought(LAYOUTS[layout], tmp_path / "out", tmp_path / "back")
    assert back.forward_pass == converted(zoo.forward_pass, target, zoo.space)
    assert (back.forward_pass == target) == (computed in ("sine", "slow sine", "plain bias"))
    assert any("its code draws" in n for n in exported.notes) == (back.forward_pass != target)
    columns = zoo.columns()
    order = order_in(layout, zoo)
    if layout == "nfn":
        ends = [
            int(np.isin(columns["split"], names).sum()) for names in (["train"], ["train", "val"])
        ]
        assert f"set split_points to {ends} in" in exported.notes[0]
    for name in ("label", "split"):
        np.testing.assert_array_equal(back.columns()[name], columns[name][order])
    weights = convert(zoo.forward_pass, target, zoo.space, zoo.theta())
    assert torch.equal(back.theta(), weights[torch.from_numpy(order)])
    if computed != "unknown":
        ours, theirs = zoo.render(zoo.theta(), X)[order], back.render(back.theta(), X)
        low, was = back.forward_pass.low, zoo.forward_pass.low
        pixels = (theirs - low) / (1 - low) * (1 - was) + was
        torch.testing.assert_close(pixels, ours, rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_agrees_is_left_to_the_last_bit(layout: str) -> None:
    space, own = WeightSpace.mlp((2, 5, 4, 1)), PEERS[layout].forward_pass
    theta = torch.randn(3, space.size)
    assert convert(own, own, space, theta) is theta


def test_a_network_that_is_no_siren_gets_no_names_of_one(tmp_path: Path) -> None:
    zoo = made(tmp_path, COMPUTED["tanh"])
    export_zoo(zoo, tmp_path / "hdf5", "hdf5")
    export_layout(zoo, tmp_path / "nfn", "nfn")
    (path,) = (tmp_path / "hdf5").iterdir()
    with h5py.File(path) as file:
        names = file["param_config"][0].decode()
    assert "kernel_net" not in names
    assert "Dense_0.bias" in names
    first = next((tmp_path / "nfn").rglob("net0.pth"))
    assert list(torch.load(first, weights_only=True))[:2] == ["net.0.weight", "net.0.bias"]


@pytest.mark.parametrize(
    ("layout", "file", "keys"),
    [
        ("nfn", "randinit_smaller_0s/net0.pth", ["net.0.linear", "net.1.linear", "net.2"]),
        *(
            (name, "mnist-inrs/mnist_png_training_0_0/checkpoints/model_final.pth",
             ["seq.0", "seq.1", "seq.2"])
            for name in ("dwsnets", "neural-graphs", "scalegmn")
        ),
    ],
)  # fmt: skip
def test_files_and_keys_are_those_that_the_loader_expects(
    layout: str, file: str, keys: list[str], tmp_path: Path
) -> None:
    export_layout(made(tmp_path, COMPUTED["sine"]), tmp_path / "out", layout)
    state = torch.load(tmp_path / "out" / file, weights_only=True)
    assert list(state) == [f"{key}.{leaf}" for key in keys for leaf in ("weight", "bias")]
    assert state[f"{keys[0]}.weight"].shape == (5, 2)


@pytest.mark.parametrize(
    ("layout", "splits", "opened"),
    [
        ("dwsnets", "mnist_splits.json", lambda dst, path: Path(path)),
        ("neural-graphs", "mnist_splits.json", lambda dst, path: dst / path),
        ("scalegmn", "mnist-inrs/mnist_splits.json", lambda dst, path: dst.parent / path),
        (
            "scalegmn",
            "mnist-inrs/mnist_splits.json",
            lambda dst, path: dst / "mnist-inrs" / "/".join(path.split("/")[2:]),
        ),
    ],
)
def test_paths_of_splits_are_those_that_the_loader_opens(
    layout: str, splits: str, opened: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    dst = tmp_path / "data"
    zoo = made(tmp_path, COMPUTED["sine"])
    export_layout(zoo, dst, layout)
    content = json.loads((dst / splits).read_text())
    split = zoo.columns()["split"]
    for name, part in content.items():
        assert len(part["path"]) == len(part["label"]) == (split == name).sum()
        for path, label in zip(part["path"], part["label"], strict=True):
            assert opened(dst, path).is_file()
            assert opened(dst, path).parent.parent.stem.split("_")[-2] == label


def test_views_are_augmentations_of_nfn(tmp_path: Path) -> None:
    zoo = made(tmp_path, COMPUTED["sine"], views=2)
    export_layout(zoo, tmp_path / "out", "nfn")
    back = brought("nfn-siren", tmp_path / "out", tmp_path / "back")
    assert sorted({p.parent.name for p in (tmp_path / "out").rglob("net0.pth")}) == [
        "randinit_smaller_0s",
        "randinit_smaller_aug0_0s",
    ]
    np.testing.assert_array_equal(np.unique(back.columns()["view"]), [0, 1])
    assert back.signals == zoo.signals


def test_diverged_networks_are_left_out_and_counted(tmp_path: Path) -> None:
    zoo = made(tmp_path / "a", COMPUTED["sine"])
    state = torch.load(tmp_path / "a" / "src" / "net5.pth", weights_only=True)
    state["0.bias"][0] = torch.nan
    save(state, tmp_path / "a" / "src" / "net5.pth")
    zoo = brought("folder", tmp_path / "a" / "src", tmp_path / "a" / "again", COMPUTED["sine"])
    exported = export_layout(zoo, tmp_path / "out", "nfn")
    assert exported.networks == 23
    assert exported.notes[0] == "1 networks that diverged are left out"
    numbers = sorted(int(p.stem[3:]) for p in (tmp_path / "out").rglob("*.pth"))
    assert numbers == list(range(23))  # ranges of numbers are splits: no gap


def test_views_are_refused_where_a_layout_has_none(tmp_path: Path) -> None:
    zoo = made(tmp_path, COMPUTED["sine"], views=2)
    with pytest.raises(ZooError, match="holds one network per signal, the zoo has 2"):
        export_layout(zoo, tmp_path / "out", "dwsnets")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    zoo = made(tmp_path, COMPUTED["sine"])
    save({}, tmp_path / "out" / "mine")
    with pytest.raises(StorageError, match="exists and is not empty"):
        export_layout(zoo, tmp_path / "out", "nfn")


def images() -> Signals:
    """MNIST where it is there, else the digits of scikit-learn."""
    if (root := os.environ.get("DWSZOO_DATA")) and (Path(root) / "mnist").is_dir():
        return Idx(path=f"{root}/mnist").load().limited(12)
    return Digits().load().limited(12)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[ZooReader, Signals]:
    """Networks fitted to images, and the images."""
    store, signals = Store(str(tmp_path_factory.mktemp("pictures"))), images()
    fit = Fit((2, 24, 24, 1), steps=150, learning_rate=2e-3)
    recipe = Recipe.of("pictures", Digits(), signals, Zoo(fit, Split(4, 1, 1)))
    generate(store, recipe, signals, LocalEngine())
    return ZooReader(store, recipe.folder), signals


@pytest.mark.parametrize("layout", LAYOUTS)
def test_their_code_draws_the_image_upright(
    layout: str, pictures: tuple[ZooReader, Signals], tmp_path: Path
) -> None:
    zoo, signals = pictures
    side = int(len(signals.coordinates) ** 0.5)
    line = np.linspace(-1, 1, side)
    if layout == "nfn":  # torch.meshgrid: the first coordinate is the row
        points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    else:  # numpy's meshgrid, flattened: the first coordinate varies fastest
        points = np.stack([axis.ravel() for axis in np.meshgrid(line, line)], 1)
    export_layout(zoo, tmp_path / "out", layout)
    back = brought(LAYOUTS[layout], tmp_path / "out", tmp_path / "back")
    image = signals.targets(np.arange(12)).reshape(12, side, side)
    order = order_in(layout, zoo)
    space, theta, x = back.space, back.theta(), torch.from_numpy(points.astype(np.float32))
    h = x.expand(12, -1, -1)
    for k, (w, b) in enumerate(zip(*[iter(space.split(theta).values())] * 2, strict=True)):
        z = h @ w[..., 0].transpose(1, 2) + b[..., 0].unsqueeze(1)
        h = torch.sin(30 * z) if k < 2 else z
    theirs = (h + 1) / 2 if layout == "nfn" else h + 0.5
    drawn = theirs.reshape(12, side, side).numpy()
    error, turned = (
        float(np.mean((d - image[order]) ** 2)) for d in (drawn, drawn.transpose(0, 2, 1))
    )
    assert error < 0.2 * turned
    ours = back.render(theta, signals.coordinates).reshape(12, side, side).numpy()
    if layout == "nfn":
        ours = (ours + 1) / 2
    np.testing.assert_allclose(ours, drawn, atol=1e-4)
