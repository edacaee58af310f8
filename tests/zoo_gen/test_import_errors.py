"""Bad input: what is refused, in which words, and what --skip-bad makes of it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from layouts import LAYOUTS, SEQ, save, siren, state
from torch import nn

from zoo_gen import ConfigError, DwszooError, SourceError, Split, Store, ZooReader
from zoo_gen.exchange.imports import FORMATS, Import, open_source
from zoo_gen.recipe.forward_pass import UNKNOWN


class Exploit:
    """A pickle that would make a file if it were run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def networks(src: Path, count: int = 6) -> list[Path]:
    """A folder of networks of one architecture."""
    files = [src / f"net{i}.pth" for i in range(count)]
    for i, file in enumerate(files):
        save(state(siren(i, 2, 6, 5, 1), SEQ), file)
    return files


def bring(src: Path, kind: str = "folder", **options: Any) -> ZooReader:
    """An import, run and opened; the root lies beside the source."""
    source = open_source(kind, src, **options)
    job = Import(Store(str(src.parent / "root")), "zoo", source, Split(1, 1, 1), None, 4)
    job.run()
    return ZooReader(job.store, job.folder)


@pytest.mark.parametrize("packed", [True, False], ids=["torch.save", "pickle"])
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path, packed: bool) -> None:
    files = networks(tmp_path / "src")
    trace = tmp_path / "run"
    if packed:
        torch.save({"seq.0.weight": Exploit(trace)}, files[3])
    else:
        files[3].write_bytes(pickle.dumps(Exploit(trace), protocol=2))
    with pytest.raises(SourceError, match=r"1 cannot be imported \(net3\.pth: .*refused"):
        bring(tmp_path / "src")
    assert not trace.exists()
    with suppress(Exception):
        torch.load(files[3], weights_only=False)
    assert trace.exists()  # it is malicious indeed


def embedding(file: Path) -> None:
    torch.save(nn.Sequential(nn.Embedding(2, 6), nn.Linear(6, 1)), file)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


def a_list(file: Path) -> None:
    torch.save([torch.zeros(3)], file)


def no_weights(file: Path) -> None:
    torch.save({"epoch": 3}, file)


def missing_key(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    del content["seq.1.weight"]
    torch.save(content, file)


def batch_norm(file: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))
    torch.save(net.state_dict(), file)


def unchained(file: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 6), nn.Linear(5, 1)).state_dict(), file)


def quantised(file: Path) -> None:
    torch.save({"a.weight": torch.zeros(2, 2, dtype=torch.int8)}, file)


DAMAGE: dict[Callable[[Path], None], str] = {
    embedding: "its layer 0 is a Embedding; only linear layers and convolutions",
    cut_short: "it cannot be read",
    a_list: "it holds a list of a .*, expected a state dict",
    no_weights: "it holds no weights of layers",
    missing_key: r"it has seq\.1\.bias but lacks seq\.1\.weight",
    batch_norm: r"it has the tensor 1\.running_mean, which is no weight",
    unchained: r"1\.weight 1x5 cannot follow 0\.bias, which has 6 outputs",
    quantised: r"a\.weight is of the type int8, expected dense floats",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("place", [0, 3])
def test_a_file_that_is_no_network_is_named(
    tmp_path: Path, damage: Callable[[Path], None], place: int
) -> None:
    files = networks(tmp_path / "src")
    damage(files[place])
    message = rf"of 6 files, 1 cannot be imported \(net{place}\.pth: {DAMAGE[damage]}.*--skip-bad"
    with pytest.raises(SourceError, match=message):
        bring(tmp_path / "src")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("nowhere"), r"b\.pth cannot be read: No such file"),
        (os.mkfifo, r"b\.pth is no file; take it away"),
    ],
)
def test_a_name_without_a_file_is_told(tmp_path: Path, make: Any, message: str) -> None:
    torch.save({"0.weight": torch.zeros(3, 2)}, tmp_path / "a.pth")
    make(tmp_path / "b.pth")
    with pytest.raises(SourceError, match=message):
        open_source("folder", tmp_path)


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="closed cannot be listed: Permission denied"):
        open_source("folder", tmp_path)


def test_mixed_architectures_are_both_named_and_counted(tmp_path: Path) -> None:
    files = networks(tmp_path / "src")
    for file in files[1:3]:
        save(state(siren(0, 2, 7, 1), SEQ[:2]), file)
    with pytest.raises(
        SourceError,
        match=r"2 architectures: 4 are 2-6-5-1 with .* \(first: net0\.pth\); "
        r"2 are 2-7-1 with .* \(first: net1\.pth\)",
    ):
        bring(tmp_path / "src")


def test_a_missing_bias_is_another_architecture(tmp_path: Path) -> None:
    files = networks(tmp_path / "src")
    content = torch.load(files[4], weights_only=True)
    del content["seq.2.bias"]
    torch.save(content, files[4])
    with pytest.raises(SourceError, match=r"5 are .*seq\.2\.bias .*1 are .*seq\.2\.weight"):
        bring(tmp_path / "src")


def test_bad_files_can_be_left_out(tmp_path: Path) -> None:
    files = networks(tmp_path / "src", 8)
    cut_short(files[0])
    save(state(siren(0, 2, 7, 1), SEQ[:2]), files[2])
    assert open_source("folder", tmp_path / "src", skip_bad=True).skipped == 2
    zoo = bring(tmp_path / "src", skip_bad=True)
    expected = [siren(i, 2, 6, 5, 1) for i in (1, 3, 4, 5, 6, 7)]
    first = torch.stack([net[0].bias for net in expected])  # type: ignore[misc]
    assert torch.equal(zoo.space.split(zoo.theta())["b1"].squeeze(-1), first)


def test_a_file_without_its_label_can_be_left_out(tmp_path: Path) -> None:
    LAYOUTS["dwsnets-fashion"](tmp_path / "src")
    lose_a_label(tmp_path / "src")
    assert len(bring(tmp_path / "src", "dwsnets-fashion", skip_bad=True).theta()) == 23


def test_no_good_file_is_no_zoo(tmp_path: Path) -> None:
    for file in networks(tmp_path / "src", 2):
        cut_short(file)
    with pytest.raises(SourceError, match="of 2 files, 2 cannot be imported"):
        open_source("folder", tmp_path / "src", skip_bad=True)


CSV = {
    "unknown": ("file,label\nnet0.pth,1\nnetx.pth,2\n", r"1 of 2 labels match no file .*netx\.pth"),
    "twice": ("file,label\nnet0.pth,1\nnet0,2\n", r"net0 has two rows"),
    "split": ("file,split\nnet0.pth,training\n", r"values \['training'\], expected train, val or"),
    "empty": ("file,label\n", "0 of 0 labels match"),
    "text": ("file,loss\nnet0.pth,low\n", "the column loss holds text"),
    "no signal": ("file,signal\nnet0.pth,1\n", "signal is unknown for some files"),
    "no csv": ("", "it cannot be read as CSV"),
}


@pytest.mark.parametrize("case", CSV)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, case: str) -> None:
    networks(tmp_path / "src")
    text, message = CSV[case]
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        bring(tmp_path / "src", labels=tmp_path / "labels.csv")


def lose_a_listed_file(src: Path) -> None:
    next((src / "fmnist_inrs" / "train").iterdir()).unlink()


def lose_the_splits(src: Path) -> None:
    (src / "fmnist_inrs" / "splits.json").unlink()


def lose_a_label(src: Path) -> None:
    save(state(siren(0, 2, 6, 5, 1), SEQ), src / "fmnist_inrs" / "train" / "model_3.pth")


def lose_coefficients(src: Path) -> None:
    save(state(siren(0, 1, 6, 5, 1), SEQ), src / "artifacts" / "model_3.pth")


def lose_the_middle(src: Path) -> None:
    (src / "mnist_10-19.hdf5").unlink()


def lose_params(src: Path) -> None:
    with h5py.File(src / "mnist_10-19.hdf5", "a") as file:
        del file["params"]


def another_shape(src: Path) -> None:
    with h5py.File(src / "mnist_10-19.hdf5", "a") as file:
        del file["param_config"], file["params"]
        config = [["output_linear.bias", [3]], ["output_linear.kernel", [2, 3]]]
        file.create_dataset("param_config", data=[json.dumps(config).encode()])
        file["params"] = np.zeros((10, 9), np.float32)


def no_hdf5(src: Path) -> None:
    (src / "mnist_10-19.hdf5").write_bytes(b"hello")


def lose_metrics(src: Path) -> None:
    (src / "metrics.csv.gz").unlink()


def lose_rows(src: Path) -> None:
    np.save(src / "weights.npy", np.load(src / "weights.npy")[:-1])


def pickled_weights(src: Path) -> None:
    np.save(src / "weights.npy", np.array([{}]), allow_pickle=True)


def shift_layout(src: Path) -> None:
    file = src / "layout.csv"
    file.write_text(file.read_text().replace(",4,40,", ",5,41,"))


def everything(src: Path) -> None:
    for file in filter(Path.is_file, [*src.rglob("*")]):
        file.unlink()


LOSS = [
    ("dwsnets-mnist", everything, "there are no files such as mnist_png_training_7_123"),
    ("dwsnets-fashion", lose_a_listed_file, "names 1 of 24 files that are missing or ambiguous"),
    ("dwsnets-fashion", lose_the_splits, r"there is no splits\.json"),
    ("dwsnets-fashion", lose_a_label, r"model_3\.pth: it has no number 'label'"),
    ("dwsnets-sine", lose_coefficients, r"model_3\.pth: coef has 0 values"),
    ("nfn-siren", everything, "there are no files such as randinit_smaller_3s"),
    ("nef-arena", everything, r"no files such as mnist_0-999\.hdf5"),
    ("nef-arena", lose_the_middle, "begins at 20, but the files before it hold the rows 0 to 9"),
    ("nef-arena", lose_params, "it holds labels, param_config, but lacks params"),
    ("nef-arena", another_shape, r"2 are 2-6-5-1 \(first: mnist_0-9\.hdf5\); 1 are 2-3 "),
    ("nef-arena", no_hdf5, "it is no HDF5 file of the arena layout"),
    ("unterthiner-cnn", lose_metrics, r"there is no metrics\.csv\.gz"),
    ("unterthiner-cnn", lose_rows, "metrics has 18 rows"),
    ("unterthiner-cnn", pickled_weights, r"weights\.npy: it cannot be read"),
    ("unterthiner-cnn", shift_layout, r"kernel:0 of shape .* lies at 5\.\.41, expected 4\.\.40"),
    ("folder", everything, r"no files in or below it end in \.pth\.tar, .*; it is empty"),
]


@pytest.mark.parametrize(
    ("kind", "damage", "message"), LOSS, ids=lambda x: getattr(x, "__name__", None)
)
def test_a_layout_that_is_broken_is_told(
    tmp_path: Path, kind: str, damage: Callable[[Path], None], message: str
) -> None:
    LAYOUTS[kind](tmp_path / "src")
    damage(tmp_path / "src")
    with pytest.raises(SourceError, match=message):
        bring(tmp_path / "src", kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_source_that_is_not_there_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(kind, tmp_path / "nowhere")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_source_of_another_kind_is_told(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file.txt").write_text("hello")
    with pytest.raises(DwszooError, match=r"file\.txt"):
        open_source(kind, tmp_path / "file.txt")


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--step: the format folder has no steps"):
        open_source("folder", tmp_path, step=3)
    with pytest.raises(ConfigError, match="--labels: the format nfn-siren has labels of its own"):
        open_source("nfn-siren", tmp_path, labels=tmp_path)
    with pytest.raises(ConfigError, match="FORMAT: got 'nfn', expected one of dwsnets-mnist"):
        open_source("nfn", tmp_path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"activation": "rel"}, "activation: got 'rel', expected sine, relu, tanh, gelu"),
        ({"w0": 0.0}, "w0: got 0.0, expected a number above 0"),
        ({"offset": float("nan")}, "offset: got nan, expected a finite number"),
    ],
)
def test_what_networks_cannot_compute_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNKNOWN.updated(**told)
