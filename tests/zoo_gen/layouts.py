"""Zoos in the layouts in which others published theirs, written from the descriptions of these."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

W0 = 30.0


class Sine(nn.Module):
    """sin(30 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(W0 * x)


@dataclass
class Truth:
    """What an import must give.

    Attributes:
        nets: the networks, in the order of the members.
        columns: name -> values.
        offset: what the layout's networks add to their output.
        grid: "xy" where their coordinates of an image are (column, row).
        options: of `zoo_gen.exchange.imports.open_source`.
    """

    nets: list[nn.Sequential]
    columns: dict[str, list[Any]]
    offset: float = 0.0
    grid: str = "ij"
    options: dict[str, Any] = field(default_factory=dict)


def siren(seed: int, *widths: int) -> nn.Sequential:
    """A SIREN with random weights, small enough for float32 to tell the same as float64."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        linear = nn.Linear(a, b)
        linear.weight.data.mul_(0.1)
        layers += [linear, Sine()]
    return nn.Sequential(*layers[:-1])


def cnn(seed: int) -> nn.Sequential:
    """The architecture of the small CNN zoo, narrower."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Conv2d(3, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 6),
    )


def linears(net: nn.Sequential) -> list[nn.Module]:
    """The layers with weights."""
    return [layer for layer in net if isinstance(layer, nn.Linear | nn.Conv2d)]


def state(net: nn.Sequential, names: list[str]) -> OrderedDict[str, Any]:
    """A state dict whose layers have these names."""
    found: OrderedDict[str, Any] = OrderedDict()
    for name, layer in zip(names, linears(net), strict=True):
        found |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    return found


def save(content: Any, path: Path) -> None:
    """As ``torch.save``, with the folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


SEQ = ["seq.0", "seq.1", "seq.2"]


def mnist(src: Path) -> Truth:
    nets = [siren(i, 2, 6, 5, 1) for i in range(30)]
    index = [3 * i for i in range(20)] + [2 * i for i in range(10)]
    label = [i % 10 for i in range(30)]
    for i, net in enumerate(nets):
        part = "training" if i < 20 else "testing"
        name = f"mnist_png_{part}_{label[i]}_{index[i]}"
        save(state(net, SEQ), src / "mnist-inrs" / name / "checkpoints" / "model_final.pth")
    save({"mean": torch.zeros(3)}, src / "mnist-inrs" / "statistics.pth")
    signal = index[:20] + [60_000 + i for i in index[20:]]
    return Truth(nets, {"signal": signal, "label": label}, 0.5, "xy")


def fashion(src: Path) -> Truth:
    nets = [siren(i, 2, 6, 5, 1) for i in range(24)]
    label = [i % 3 for i in range(24)]
    paths: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    split = ["train"] * 16 + ["val"] * 3 + ["test"] * 5
    for i, net in enumerate(nets):
        place = f"fmnist_inrs/{'test' if i >= 19 else 'train'}/model_{i % 19}.pth"
        save(state(net, SEQ) | {"label": label[i]}, src / place)
        paths[split[i]].append(f"/home/author/data/{place}")
    (src / "fmnist_inrs" / "splits.json").write_text(json.dumps(paths))
    return Truth(nets, {"signal": list(range(24)), "label": label, "split": split}, 0.5, "xy")


def sine(src: Path) -> Truth:
    nets = [siren(i, 1, 6, 5, 1) for i in range(12)]  # model_10 comes after model_9
    coef = np.random.default_rng(0).uniform(0, 10, (12, 2))
    x = np.arange(-np.pi, np.pi, 0.5)
    for i, net in enumerate(nets):
        a, b = coef[i]
        content = state(net, SEQ)
        content |= {"coef": coef[i].tolist(), "x": x, "y": a * np.sin(b * x)}
        save(content, src / "artifacts" / f"model_{i}.pth")
    amplitude, frequency = coef.astype(np.float32).T.tolist()
    return Truth(nets, {"amplitude": amplitude, "frequency": frequency}, 0.5)


def nfn(src: Path) -> Truth:
    nets, columns = [], {"signal": [], "view": [], "label": []}  # type: ignore[var-annotated]
    for index in range(12):
        for view, aug in enumerate(["", "_aug0", "_aug1", "_aug10"]):
            net, label = siren(100 * index + view, 2, 6, 5, 3), index % 4
            folder = f"randinit_smaller{aug}_{label}s"
            save(
                state(net, ["net.0.linear", "net.1.linear", "net.2"]),
                src / folder / f"net{index}.pth",
            )
            nets.append(net)
            for name, value in (("signal", index), ("view", view), ("label", label)):
                columns[name].append(value)
    columns["split"] = ["train" if s < 7 else "val" if s < 9 else "test" for s in columns["signal"]]
    return Truth(nets, columns, options={"split_at": (7, 9)})


def arena(src: Path) -> Truth:
    nets = [siren(i, 2, 6, 5, 1) for i in range(30)]
    names = ["kernel_net_0.linear", "kernel_net_1.linear", "output_linear"]
    label = [i % 4 for i in range(30)]
    src.mkdir(parents=True, exist_ok=True)
    config = []
    for name, layer in zip(names, linears(nets[0]), strict=True):
        config += [[f"{name}.bias", [len(layer.bias)]]]
        config += [[f"{name}.kernel", list(layer.weight.T.shape)]]
    rows = np.stack(
        [
            np.concatenate(
                [x.detach().numpy().ravel() for f in linears(n) for x in (f.bias, f.weight.T)]
            )
            for n in nets
        ]
    )
    for start, end in ((0, 9), (10, 19), (20, 29)):
        with h5py.File(src / f"mnist_{start}-{end}.hdf5", "w") as file:
            file["params"] = rows[start : end + 1]
            file["labels"] = np.array(label[start : end + 1])
            file.create_dataset("param_config", data=[json.dumps(config).encode()])
    return Truth(nets, {"signal": list(range(30)), "label": label})


def cnn_zoo(src: Path) -> Truth:
    src.mkdir(parents=True, exist_ok=True)
    nets = [cnn(i) for i in range(18)]
    names = ["sequential/conv2d", "sequential/conv2d_1", "sequential/conv2d_2", "sequential/dense"]
    rows, layout = [], []
    for net in nets:
        parts, at, layout = [], 0, []
        for name, layer in zip(names, linears(net), strict=True):
            weight = layer.weight.detach().numpy()
            kernel = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
            for leaf, x in (("bias:0", layer.bias.detach().numpy()), ("kernel:0", kernel)):
                layout.append((f"{name}/{leaf}", at, at + x.size, str(x.shape)))
                at += x.size
                parts.append(x.ravel())
        rows.append(np.concatenate(parts))
    # snapshots of one run lie apart, as rows do in the original
    order = [*range(0, 18, 2), *range(1, 18, 2)]
    np.save(src / "weights.npy", np.stack([rows[i] for i in order]))
    fields = ["varname", "start_idx", "end_idx", "shape"]
    pd.DataFrame(layout, columns=fields).to_csv(src / "layout.csv", index=False)
    table = {
        "modeldir": [f"/runs/{i // 2}" for i in order],
        "step": [86 * (i % 2) for i in order],
        "test_accuracy": [i / 32 for i in order],
        "config.activation": [["relu", "tanh"][i // 2 % 2] for i in order],
        "config.dropout": [None if i // 2 == 3 else i / 64 for i in order],
    }
    pd.DataFrame(table).to_csv(src / "metrics.csv.gz", index=False)
    columns = {
        "signal": [i // 2 for i in range(18)],
        "view": [i % 2 for i in range(18)],
        "step": [86 * (i % 2) for i in range(18)],
        "test_accuracy": [i / 32 for i in range(18)],
        "config.activation": [["relu", "tanh"][i // 2 % 2] for i in range(18)],
    }
    return Truth(nets, columns)


def folder(src: Path) -> Truth:
    nets = [siren(i, 3, 4, 1) for i in range(12)]
    names = [f"runs/{['a', 'b'][i % 2]}/model-{i}.{['pth', 'pt'][i % 2]}" for i in range(12)]
    for name, net in zip(names, nets, strict=True):
        save({"state_dict": state(net, ["body.in", "body.out"]), "epoch": 3}, src / name)
    order = sorted(range(12), key=lambda i: (i % 2, i))
    split = [["train", "test", "val"][i % 3] for i in range(12)]
    table = {
        "file": [names[i] for i in range(12) if i != 5],
        "label": [i % 3 for i in range(12) if i != 5],
        "rate": [i / 8 for i in range(12) if i != 5],
        "split": [split[i] for i in range(12) if i != 5],
        "kind": [f"k{i}" for i in range(12) if i != 5],
    }
    pd.DataFrame(table).to_csv(src / "labels.csv", index=False)
    columns = {
        "label": [np.nan if i == 5 else i % 3 for i in order],
        "rate": [np.nan if i == 5 else i / 8 for i in order],
        "kind": ["" if i == 5 else f"k{i}" for i in order],
    }
    return Truth([nets[i] for i in order], columns)


LAYOUTS = {
    "dwsnets-mnist": mnist,
    "dwsnets-fashion": fashion,
    "dwsnets-sine": sine,
    "nfn-siren": nfn,
    "nef-arena": arena,
    "unterthiner-cnn": cnn_zoo,
    "folder": folder,
}
