"""Zoos in the layouts of public projects, so that their loaders take them without an edit.

dwsnets, neural-graphs, scalegmn    ``mnist-inrs/mnist_png_{part}_{label}_{idx}/checkpoints/
                                    model_final.pth`` with ``seq.N.weight``, ``mnist_splits.json``
nfn                                 ``randinit_smaller[_augK]_{label}s/net{idx}.pth`` with
                                    ``net.N.linear.weight``; splits are ranges of idx

Their code fixes what networks compute: sin(30 (W x + b)), a grid, an offset, a range of pixels.
Weights are brought to it where that keeps the function, and left alone else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dws import WeightSpace
from zoo_gen.errors import ConfigError, StorageError, ZooError
from zoo_gen.exchange.writing import Progress, batches, claim, whole
from zoo_gen.recipe.forward_pass import ForwardPass
from zoo_gen.recipe.recipe import SPLITS
from zoo_gen.zoo.zoo import ZooReader

MNIST_TRAINING = 60_000  # test images are counted on from here in our zoos, from 0 in theirs
NETWORKS = "mnist-inrs"
SPLITS_FILE = "mnist_splits.json"

PAPER = ForwardPass("sine", 30.0, 0.5, grid="xy")
SIREN = ForwardPass("sine", 30.0, 0.0, grid="ij", low=-1.0)

Files = list[str | None]
"""The file of each network of a zoo, in row order; None for those that diverged."""


@dataclass(frozen=True)
class Peer:
    """A project whose loaders read a layout.

    Attributes:
        forward_pass: what its code computes.
        splits: where the file with the splits is, below the destination; "" for ranges of numbers.
        prefix: of the paths in that file: what the loader takes away or adds to them.
    """

    forward_pass: ForwardPass
    splits: str = ""
    prefix: Callable[[Path], str] = lambda dst: ""


PEERS: dict[str, Peer] = {
    # its loader opens the paths as they are, from any working directory
    "dwsnets": Peer(PAPER, SPLITS_FILE, lambda dst: f"{dst.resolve().as_posix()}/"),
    # its loader puts `dataset_dir` before them
    "neural-graphs": Peer(PAPER, SPLITS_FILE),
    # its loader takes the first two parts for `dataset_path`, which is ./data/mnist-inrs/
    "scalegmn": Peer(PAPER, f"{NETWORKS}/{SPLITS_FILE}", lambda dst: "data/"),
    "nfn": Peer(SIREN),
}
"""Name of a layout -> who reads it."""


@dataclass(frozen=True)
class Exported:
    """What an export in a layout wrote.

    Attributes:
        networks: how many.
        notes: what the person who loads them has to know, a sentence each.
    """

    networks: int
    notes: tuple[str, ...]


def export_layout(
    zoo: ZooReader, dst: Path, layout: str, progress: Progress = lambda done: None
) -> Exported:
    """Write the networks of a zoo for the loaders of another project.

    Networks that diverged are left out: these layouts cannot mark them. Interrupted, the same call
    continues.

    Args:
        zoo: a complete zoo of MLPs with a column ``label``.
        dst: a folder that is empty or not there: the project's ``dataset`` or ``data``, of nfn the
            folder of the SIRENs.
        layout: a key of `PEERS`.
        progress: called with the number of networks that are done.

    Raises:
        ConfigError: another layout.
        StorageError: the destination is in use.
        ZooError: the zoo is incomplete, or of networks that the layout cannot hold.
    """
    if layout not in PEERS:
        raise ConfigError(f"--layout: got {layout!r}, expected one of {', '.join(PEERS)}")
    if missing := zoo.missing():
        raise ZooError(f"{zoo.url} is not complete: {len(missing)} shards are missing")
    peer = PEERS[layout]
    columns = _checked(zoo, layout)
    kept = columns["status"] == "ok"
    files, points = (_nfn_files if layout == "nfn" else _paper_files)(zoo, columns, kept)
    forward_pass = converted(zoo.forward_pass, peer.forward_pass, zoo.space)
    about: dict[str, Any] = {
        "zoo": zoo.hash8,
        "layout": layout,
        "network": forward_pass.to_dict(),
        **({"split_points": points} if points else {}),
    }
    progress(0)
    try:
        _write(zoo, dst, files, about, peer.forward_pass, progress)
        _write_splits(dst, files, columns, peer)
    except OSError as error:
        raise StorageError(f"cannot write {dst}: {error.strerror or error}") from error
    notes = []
    if left := int((~kept).sum()):
        notes.append(f"{left:,} networks that diverged are left out")
    if points:
        notes.append(f"its splits are ranges: set split_points to {points} in its config")
    if forward_pass != peer.forward_pass:
        notes.append(
            f"its code draws {_described(peer.forward_pass)}; these networks are "
            f"{_described(forward_pass)}: what reads their weights alone works, drawing them there "
            "gives other pictures"
        )
    return Exported(int(kept.sum()), tuple(notes))


def converted(own: ForwardPass, target: ForwardPass, space: WeightSpace) -> ForwardPass:
    """What the networks compute once `convert` has brought them as near to a target as it can."""
    if own.activation == "sine":
        own = replace(own, w0=target.w0, scaled_bias=target.scaled_bias)
    if own.grid is not None and target.grid is not None and _on_plane(own, space):
        own = replace(own, grid=target.grid)
    if own.output == "linear":
        own = replace(own, offset=target.offset, low=target.low)
    return own


def convert(own: ForwardPass, target: ForwardPass, space: WeightSpace, theta: Tensor) -> Tensor:
    """Weights of the same functions for code that computes something else.

    The columns of the first weight are swapped for another grid, hidden layers scaled for another
    w0, the last layer scaled and shifted for another range of pixels and offset; what agrees is
    left to the last bit.

    Args:
        own: what the networks compute.
        target: what the code computes.
        space: of an MLP.
        theta: ``[m, size]``.
    """
    goal = converted(own, target, space)
    if goal == own:
        return theta
    tensors = {name: x.clone() for name, x in space.split(theta).items()}
    last = len(space.widths) - 1
    if goal.grid != own.grid:
        tensors["W1"] = tensors["W1"].flip(2)
    for k in range(1, last):
        tensors[f"W{k}"] *= own.w0 / goal.w0
        tensors[f"b{k}"] *= (own.bias_w0 or own.w0) / (goal.bias_w0 or goal.w0)
    # a pixel p of ours, in [own.low, 1], is gain * p + rest of theirs
    gain = (1 - goal.low) / (1 - own.low)
    rest = 1 - gain
    tensors[f"W{last}"] *= gain
    tensors[f"b{last}"] *= gain
    tensors[f"b{last}"] += gain * own.offset + rest - goal.offset
    return space.flatten(tensors)


def _on_plane(forward_pass: ForwardPass, space: WeightSpace) -> bool:
    return not forward_pass.fourier_features and space.widths[0] == 2


def _described(forward_pass: ForwardPass) -> str:
    parts = [str(forward_pass), f"offset {forward_pass.offset:g}"]
    if forward_pass.fourier_features:
        parts.append(f"{forward_pass.fourier_features} Fourier features")
    if forward_pass.output != "linear":
        parts.append(forward_pass.output)
    parts.append(f"grid {forward_pass.grid or 'not known'}")
    return ", ".join(parts)


def _checked(zoo: ZooReader, layout: str) -> dict[str, npt.NDArray[Any]]:
    """The columns of a zoo that the layout can hold."""
    try:
        widths = zoo.space.widths
    except ValueError as error:
        raise ZooError(f"{zoo.url}: the layout {layout} holds MLPs; use --format pth") from error
    if any(f"b{k}" not in zoo.space.shapes for k in range(1, len(widths))):
        raise ZooError(
            f"{zoo.url}: the layout {layout} expects a bias in each layer; use --format pth"
        )
    columns = zoo.columns()
    label = columns.get("label")
    if label is None or label.dtype.kind != "i" or label.min() < 0:
        raise ZooError(
            f"{zoo.url}: the layout {layout} names folders by the class of a network, but the zoo "
            "has no column label of classes 0, 1, 2, ...; use --format pth"
        )
    if layout == "nfn":
        if label.max() > 9:
            raise ZooError(
                f"{zoo.url}: the loader of nfn reads classes of one digit, the zoo has the class "
                f"{label.max()}; use --format pth"
            )
    elif columns["view"].max() > 0:
        raise ZooError(
            f"{zoo.url}: the layout {layout} holds one network per signal, the zoo has "
            f"{columns['view'].max() + 1}; use --layout nfn or --format pth"
        )
    return columns


def _paper_files(
    zoo: ZooReader, columns: dict[str, npt.NDArray[Any]], kept: npt.NDArray[np.bool_]
) -> tuple[Files, list[int]]:
    signal, test = columns["signal"], columns["split"] == "test"
    apart = test.any() and signal[test].min() >= MNIST_TRAINING
    apart = apart and not (signal[~test] >= MNIST_TRAINING).any()
    index = np.where(test, signal - MNIST_TRAINING, signal) if apart else signal
    return [
        f"{NETWORKS}/mnist_png_{'testing' if test[i] else 'training'}_{columns['label'][i]}_"
        f"{index[i]}/checkpoints/model_final.pth"
        if kept[i]
        else None
        for i in range(len(zoo))
    ], []


def _nfn_files(
    zoo: ZooReader, columns: dict[str, npt.NDArray[Any]], kept: npt.NDArray[np.bool_]
) -> tuple[Files, list[int]]:
    """Numbers run through train, val and test without gaps, as the loader's ranges need."""
    part = np.array([SPLITS.index(s) for s in columns["split"]])
    keys = sorted({(int(part[i]), int(columns["signal"][i])) for i in np.flatnonzero(kept)})
    number = {key: n for n, key in enumerate(keys)}
    views: dict[int, int] = {}
    files: Files = []
    for i in range(len(zoo)):
        if not kept[i]:
            files.append(None)
            continue
        n = number[int(part[i]), int(columns["signal"][i])]
        view = views[n] = views.get(n, -1) + 1
        again = f"_aug{view - 1}" if view else ""
        files.append(f"randinit_smaller{again}_{columns['label'][i]}s/net{n}.pth")
    return files, [sum(p <= k for p, _ in keys) for k in (0, 1)]


def _write(
    zoo: ZooReader,
    dst: Path,
    files: Files,
    about: dict[str, Any],
    target: ForwardPass,
    progress: Progress,
) -> None:
    claim(dst, about)
    keys, own = _keys(zoo.space, about), zoo.forward_pass
    for start, rows in batches(zoo, progress):
        theta = convert(own, target, zoo.space, rows.theta)
        tensors = zoo.space.split(theta)
        for i in range(len(rows)):
            file = files[start + i]
            if file is None or (dst / file).exists():
                continue
            state = {keys[n]: x[i, ..., 0].clone() for n, x in tensors.items()}
            whole(dst / file, lambda path, s=state: torch.save(s, path))  # type: ignore[misc]


def _keys(space: WeightSpace, about: dict[str, Any]) -> dict[str, str]:
    """Name of a tensor of the space -> its key in a state dict."""
    last, keys = len(space.widths) - 1, {}
    siren = (about["network"] or {}).get("activation") == "sine"
    for name in space.names:
        k, leaf = int(name[1:]), "weight" if name[0] == "W" else "bias"
        if about["layout"] == "nfn":  # whose SIREN layers hold a linear one; no others are named so
            keys[name] = f"net.{k - 1}.{'linear.' if siren and k < last else ''}{leaf}"
        else:
            keys[name] = f"seq.{k - 1}.{leaf}"
    return keys


def _write_splits(
    dst: Path, files: Files, columns: dict[str, npt.NDArray[Any]], peer: Peer
) -> None:
    """Paths and labels of each split; of nfn, whose loader needs no such file, for our import."""
    prefix = peer.prefix(dst)
    found: dict[str, dict[str, list[Any]]] = {s: {"path": [], "label": []} for s in SPLITS}
    for i, file in enumerate(files):
        if file is not None:
            split = found[str(columns["split"][i])]
            split["path"].append(prefix + file)
            split["label"].append(str(columns["label"][i]))
    text = json.dumps(found)
    whole(dst / (peer.splits or "splits.json"), lambda path: path.write_text(text))
