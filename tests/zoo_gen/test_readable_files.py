"""Every row of "what can be imported": written by its own framework, imported, drawn, compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
import torch
from layouts import linears, siren
from safetensors.torch import save_file
from torch import nn

from zoo_gen import Split, Store, ZooReader
from zoo_gen.exchange.imports import Import, Reading, open_source

DOCS = Path(__file__).parents[2] / "docs" / "import.md"
NAMES = ["body.0", "body.2", "head"]
Net = nn.Sequential


class Wave(nn.Module):
    """A module of somebody's own."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.body = nn.Sequential(net[0], net[1], net[2], net[3])
        self.head = net[4]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def state(net: Net) -> dict[str, torch.Tensor]:
    """A state dict with the names of `Wave`."""
    return dict(Wave(net).state_dict())


def of_keras(net: Net) -> dict[str, np.ndarray]:
    """Kernels ``(in, out)`` and biases by layer."""
    return {
        f"{name}/{leaf}": x.detach().numpy().copy()
        for name, layer in zip(["dense", "dense_1", "dense_2"], linears(net), strict=True)
        for leaf, x in (("kernel", layer.weight.T), ("bias", layer.bias))
    }


def state_dict(net: Net, to: Path) -> None:
    torch.save(state(net), to / "a.pth")


def before_torch_1_6(net: Net, to: Path) -> None:
    torch.save(state(net), to / "a.pt", _use_new_zipfile_serialization=False)


def training_checkpoint(net: Net, to: Path) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    content = {"model_state_dict": state(net), "optimizer_state_dict": optimizer.state_dict()}
    torch.save(content | {"epoch": 7, "val_loss": 0.25, "note": "best"}, to / "a.pth.tar")


def lightning(net: Net, to: Path) -> None:
    content = {"pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 1e-3}, "epoch": 7}
    loops = {"fit_loop": {"state_dict": {}}}
    named = {f"model.{name}": x for name, x in state(net).items()}
    torch.save(content | {"state_dict": named, "loops": loops}, to / "a.ckpt")


def list_of_one(net: Net, to: Path) -> None:
    torch.save({"state_dict": [state(net)]}, to / "a.bin")


def data_parallel(net: Net, to: Path) -> None:
    torch.save(nn.DataParallel(Wave(net)).state_dict(), to / "a.pth")


def whole_module(net: Net, to: Path) -> None:
    torch.save(Wave(net), to / "a.pt")


def torchscript(net: Net, to: Path) -> None:
    torch.jit.save(torch.jit.trace(Wave(net), torch.zeros(1, 2)), to / "a.pt")


def safetensors(net: Net, to: Path) -> None:
    save_file(state(net), to / "a.safetensors")


def hugging_face(net: Net, to: Path) -> None:
    (to / "a").mkdir()
    (to / "a" / "config.json").write_text("{}")
    save_file(state(net), to / "a" / "model.safetensors", {"format": "pt"})
    torch.save(state(net), to / "a" / "pytorch_model.bin")


def hugging_face_sharded(net: Net, to: Path) -> None:
    (to / "a").mkdir()
    (to / "a" / "config.json").write_text("{}")
    places = {}
    for i, name in enumerate(NAMES):
        file = f"model-0000{i + 1}-of-00003.safetensors"
        part = {key: x for key, x in state(net).items() if key.startswith(name)}
        save_file(part, to / "a" / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (to / "a" / "model.safetensors.index.json").write_text(json.dumps(index))


def npz(net: Net, to: Path) -> None:
    np.savez_compressed(to / "a.npz", **{name: x.numpy() for name, x in state(net).items()})


def keras_weights(net: Net, to: Path) -> None:
    with h5py.File(to / "a.weights.h5", "w") as file:
        for name, x in of_keras(net).items():
            layer, leaf = name.split("/")
            place = f"layers/{layer}/vars/{0 if leaf == 'kernel' else 1}"
            file.create_dataset(place, data=x)
        file.create_dataset("optimizer/vars/0", data=np.int64(3))


def keras_h5(net: Net, to: Path) -> None:
    with h5py.File(to / "a.h5", "w") as file:
        root = file.create_group("model_weights")
        arrays, layers = of_keras(net), ["dense", "dense_1", "dense_2"]
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for layer in layers:
            names = [f"{layer}/kernel:0", f"{layer}/bias:0"]
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group.create_dataset(name, data=arrays[name.removesuffix(":0")])
        file.create_group("optimizer_weights")["iterations:0"] = 3


def flax(net: Net, to: Path) -> None:
    tree: dict[str, Any] = {}
    for name, x in of_keras(net).items():
        layer, leaf = name.split("/")
        flax_name = f"Dense_{['dense', 'dense_1', 'dense_2'].index(layer)}"
        packed = msgpack.packb((x.shape, x.dtype.name, x.tobytes()), use_bin_type=True)
        tree.setdefault(flax_name, {})[leaf] = msgpack.ExtType(1, packed)
    (to / "a.msgpack").write_bytes(msgpack.packb({"params": tree, "step": 3}))


Write = Callable[[Net, Path], None]
ROWS: dict[str, Write] = {
    "`.pth` `.pt` `.bin` of `torch.save(net.state_dict(), FILE)`": state_dict,
    "the same from torch before 1.6": before_torch_1_6,
    "`.pth.tar` `.pth` `.pt`: state dict beside optimizer, epoch, loss": training_checkpoint,
    "`.ckpt` of Lightning": lightning,
    "a list of one state dict": list_of_one,
    "names that begin with `module.` or `_orig_mod.`": data_parallel,
    "`.pt` of `torch.save(net, FILE)`, a whole module of any class": whole_module,
    "`.pt` of `torch.jit.save`": torchscript,
    "`.safetensors`": safetensors,
    "Hugging Face: `config.json` with `model.safetensors` or `pytorch_model.bin`": hugging_face,
    "Hugging Face in several files: `*.index.json`": hugging_face_sharded,
    "`.npz`": npz,
    "`.weights.h5` of Keras 3": keras_weights,
    "`.h5` `.hdf5` of Keras, weights or whole models": keras_h5,
    "`.msgpack` of flax": flax,
}


def bring(src: Path, **options: Any) -> ZooReader:
    """A folder as a zoo of sine networks."""
    source = open_source("folder", src, **options)
    network = source.forward_pass.updated(activation="sine")
    job = Import(Store(str(src.parent / "root")), "zoo", source, Split(1, 1, 1), network)
    job.run()
    return ZooReader(job.store, job.folder)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table_draws_what_its_network_draws(tmp_path: Path, row: str) -> None:
    net = siren(3, 2, 6, 5, 1)
    (tmp_path / "src").mkdir()
    ROWS[row](net, tmp_path / "src")
    zoo = bring(tmp_path / "src")
    assert len(zoo) == 1
    x = np.random.default_rng(0).uniform(-1, 1, (40, 2)).astype(np.float32)
    theirs = net(torch.from_numpy(x)).detach()
    torch.testing.assert_close(zoo.draw(0, x), theirs, rtol=0, atol=1e-6)


def test_the_docs_have_these_rows() -> None:
    table = DOCS.read_text().split("## What can be imported")[1].split("\n## ")[0]
    assert re.findall(r"^\| (.+?) +\|", table, re.MULTILINE)[1:] == list(ROWS)


def test_what_is_beside_wrapped_weights_becomes_columns(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    training_checkpoint(siren(3, 2, 6, 5, 1), tmp_path / "src")
    frame = bring(tmp_path / "src").frame()
    assert frame[["epoch", "val_loss", "note"]].to_numpy().tolist() == [[7, 0.25, "best"]]


def test_a_column_of_whole_and_broken_numbers_loses_none(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for i, accuracy in enumerate([1, 0.5, None]):
        content = {"model": state(siren(i, 2, 6, 5, 1)), "accuracy": accuracy}
        torch.save(content, tmp_path / "src" / f"{i}.pth")
    accuracy = bring(tmp_path / "src").frame()["accuracy"]
    assert accuracy[:2].tolist() == [1.0, 0.5]
    assert accuracy.isna().tolist() == [False, False, True]


def agents(src: Path, nested: bool) -> list[Net]:
    """Actor-critics, their networks in dictionaries of their own or under one name each."""
    src.mkdir()
    nets = [siren(i, 3, 7, 2) for i in range(3)]
    for i, net in enumerate(nets):
        parts = {"actor": net.state_dict(), "critic": siren(9 + i, 3, 8, 1).state_dict()}
        flat = {f"{part}.{name}": x for part, own in parts.items() for name, x in own.items()}
        torch.save(parts if nested else flat | {"log_std": torch.zeros(2)}, src / f"{i}.pth")
    return nets


@pytest.mark.parametrize("nested", [True, False], ids=["dictionaries", "names"])
def test_one_of_several_networks_is_taken_by_name(tmp_path: Path, nested: bool) -> None:
    nets = agents(tmp_path / "src", nested)
    with pytest.raises(Exception, match=r"actor, critic.*--part" if nested else "--ignore log_std"):
        bring(tmp_path / "src")
    zoo = bring(tmp_path / "src", reading=Reading(part="actor"))
    assert torch.equal(zoo.space.split(zoo.theta())["W1"][2, ..., 0], nets[2][0].weight.detach())
    assert zoo.description["recipe"]["source"]["part"] == "actor"


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    agents(tmp_path / "src", nested=False)
    with pytest.raises(Exception, match="no part 'actr'; its tensors are those of actor, critic"):
        bring(tmp_path / "src", reading=Reading(part="actr"))


def test_flat_networks_of_several_parts_are_told_apart(tmp_path: Path) -> None:
    agents(tmp_path / "src", nested=False)
    with pytest.raises(Exception, match=r"several networks \(actor, critic\): choose one with --p"):
        bring(tmp_path / "src", reading=Reading(ignore=("log_*",)))


def test_ignored_tensors_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    content = {**state(siren(0, 2, 6, 5, 1)), "log_std": torch.zeros(2)}
    torch.save(content, tmp_path / "src" / "a.pth")
    zoo = bring(tmp_path / "src", reading=Reading(ignore=("log_*",)))
    assert zoo.description["recipe"]["source"]["ignore"] == ["log_*"]
    with pytest.raises(Exception, match=r"--ignore lg_\* matches none of its tensors: body"):
        bring(tmp_path / "src", reading=Reading(ignore=("lg_*",)))


def test_names_and_orders_of_tensors_do_not_make_another_architecture(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    nets = [siren(i, 2, 6, 5, 1) for i in range(3)]
    content = [state(nets[0]), dict(reversed(state(nets[1]).items())), nets[2].state_dict()]
    for i, tensors in enumerate(content):
        torch.save(tensors, tmp_path / "src" / f"{i}.pth")
    weights = bring(tmp_path / "src").theta()
    expected = [torch.nn.utils.parameters_to_vector(net.parameters()) for net in nets]
    assert torch.equal(weights, torch.stack(expected).detach())


def test_a_folder_says_what_it_passed_over(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    state_dict(siren(0, 2, 6, 5, 1), tmp_path / "src")
    for name in ("a.txt", "b.txt", "README"):
        (tmp_path / "src" / name).write_text("hello")
    (note,) = open_source("folder", tmp_path / "src").notes
    assert note == "passed over: 2 .txt, 1 no ending; --glob PATTERN imports other names"


def test_files_of_any_name_are_found_by_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    torch.save(state(siren(0, 2, 6, 5, 1)), tmp_path / "src" / "weights_of_run_1")
    assert bring(tmp_path / "src", glob="weights_*").theta().shape == (1, 59)


def test_left_out_files_are_counted_by_reason(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for i in range(4):
        widths = (2, 7, 1) if i == 1 else (2, 6, 5, 1)
        torch.save(siren(i, *widths).state_dict(), tmp_path / "src" / f"{i}.pth")
    (tmp_path / "src" / "3.pth").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    notes = open_source("folder", tmp_path / "src", skip_bad=True).notes
    assert notes[0].startswith("1 files are of another architecture than 2-6-5-1")
    assert re.match(r"1 files could not be imported .*3\.pth: .*`git lfs pull`", notes[1])
