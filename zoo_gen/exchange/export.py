"""Zoos for other tools: state dicts, one safetensors file, HDF5 of the neural-field arena."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo_gen.errors import ConfigError, StorageError, ZooError
from zoo_gen.exchange.writing import Progress, batches, check_empty, claim, whole
from zoo_gen.recipe.recipe import SPLITS
from zoo_gen.zoo.zoo import ZooReader

KINDS = ("pth", "safetensors", "hdf5")
DTYPES = {"f4": "F32", "f8": "F64", "i4": "I32", "i8": "I64"}


def export_zoo(
    zoo: ZooReader, dst: Path, kind: str, progress: Progress = lambda done: None
) -> Path:
    """Write all networks of a zoo for another tool; the weights are the same bit for bit.

    Args:
        zoo: a complete zoo.
        dst: a folder that is empty or not there, or a new file for ``"safetensors"``.
        kind: ``"pth"``: a state dict per network, named as in ``nn.Sequential`` with an activation
            after each hidden layer (``0.weight``, ``0.bias``, ``2.weight``, ...), and
            ``labels.csv`` with all columns; interrupted, the same call continues.
            ``"safetensors"``: the same tensors as ``[m, *shape]``, and columns of numbers.
            ``"hdf5"``: ``params``, ``labels`` and ``param_config`` of the arena; MLPs alone.
        progress: called with the number of networks that are written.

    Returns:
        The folder or file.

    Raises:
        ConfigError: another kind.
        StorageError: the destination is in use.
        ZooError: the zoo is incomplete, or of networks that the kind cannot hold.
    """
    if kind not in KINDS:
        raise ConfigError(f"--format: got {kind!r}, expected one of {', '.join(KINDS)}")
    if missing := zoo.missing():
        raise ZooError(f"{zoo.url} is not complete: {len(missing)} shards are missing")
    progress(0)
    try:
        if kind == "pth":
            about = {"zoo": zoo.hash8, "format": "pth", "network": zoo.forward_pass.to_dict()}
            claim(dst, about)
            _write_files(zoo, dst, progress)
        elif kind == "safetensors":
            if dst.exists():
                raise StorageError(f"{dst} exists; choose another name or move it away")
            dst.parent.mkdir(parents=True, exist_ok=True)
            _write_stacked(zoo, dst, progress)
        else:
            _write_arena(zoo, dst, progress)
    except OSError as error:
        raise StorageError(f"cannot write {dst}: {error.strerror or error}") from error
    return dst


def _write_files(zoo: ZooReader, dst: Path, progress: Progress) -> None:
    shapes = torch_shapes(zoo)
    names = [f"net{member:07d}.pth" for member in range(len(zoo))]
    there = set(os.listdir(dst))
    for start, rows in batches(zoo, progress):
        tensors = _tensors(zoo, rows.theta, shapes)
        for i in range(len(rows)):
            if names[start + i] not in there:
                state = {name: x[i].clone() for name, x in tensors.items()}
                whole(dst / names[start + i], lambda path, s=state: torch.save(s, path))  # type: ignore[misc]
    frame = zoo.frame().drop(columns="member")
    frame.insert(0, "file", names)
    whole(dst / "labels.csv", lambda path: frame.to_csv(path, index=False))


def _write_stacked(zoo: ZooReader, dst: Path, progress: Progress) -> None:
    """The file is mapped and filled part by part: its size may exceed memory."""
    shapes = {name: (len(zoo), *shape) for name, shape in torch_shapes(zoo).items()}
    columns = _numbers(zoo.columns())
    kinds = dict.fromkeys(shapes, np.dtype("f4")) | {n: x.dtype for n, x in columns.items()}
    shapes |= {name: x.shape for name, x in columns.items()}
    header: dict[str, Any] = {
        "__metadata__": {
            "dwszoo": json.dumps({"zoo": zoo.hash8, "network": zoo.forward_pass.to_dict()})
        }
    }
    at = 0
    # wide types first, as the format's own writer does, so that every tensor is aligned
    for name in sorted(shapes, key=lambda n: -kinds[n].itemsize):
        end = at + prod(shapes[name]) * kinds[name].itemsize
        header[name] = {
            "dtype": DTYPES[kinds[name].str[1:]],
            "shape": list(shapes[name]),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + at)
        maps = {
            name: np.memmap(
                path, kinds[name], "r+", 8 + len(text) + header[name]["data_offsets"][0], shape
            )
            for name, shape in shapes.items()
        }
        for name, values in columns.items():
            maps[name][:] = values
        for start, rows in batches(zoo, progress):
            for name, x in _tensors(zoo, rows.theta, torch_shapes(zoo)).items():
                maps[name][start : start + len(rows)] = x.numpy()
        for view in maps.values():
            view.flush()

    whole(dst, write)


def _write_arena(zoo: ZooReader, dst: Path, progress: Progress) -> None:
    from zoo_gen.exchange import hdf5

    try:
        widths = zoo.space.widths
    except ValueError as error:
        raise ZooError(
            f"{zoo.url}: HDF5 of the arena holds MLPs; use pth or safetensors"
        ) from error
    check_empty(dst)
    labels = zoo.columns().get("label")
    whole = labels is not None and labels.dtype.kind == "i"
    order = [n for k in range(1, len(widths)) for n in (f"b{k}", f"W{k}") if n in zoo.space.shapes]
    siren = zoo.forward_pass.activation == "sine"
    config = tuple(
        (_flax_name(n, len(widths) - 1, siren), zoo.space.shapes[n][::-1]) for n in order
    )

    def parts() -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None]]:
        for _, rows in batches(zoo, progress):
            tensors = zoo.space.split(rows.theta)
            turned = [
                tensors[n].squeeze(-1).mT if n[0] == "W" else tensors[n][..., 0] for n in order
            ]
            yield (
                torch.cat([x.flatten(1) for x in turned], 1).numpy(),
                rows.columns["label"].numpy() if whole else None,
            )

    # of a zoo that others may have made: no part of it may lead out of the folder
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", str(zoo.description["recipe"]["name"]))
    about = {"zoo": zoo.hash8, "network": zoo.forward_pass.to_dict()}
    hdf5.write(dst / f"{name}_0-{len(zoo) - 1}.hdf5", config, len(zoo), parts(), about)


def torch_shapes(zoo: ZooReader) -> dict[str, tuple[int, ...]]:
    """Name of each tensor in ``nn.Sequential`` -> its shape in torch, in the order of ``theta``.

    Raises:
        ZooError: tensors that are not weights and biases of numbered layers.
    """
    shapes = zoo.description["space"].get("shapes", zoo.space.shapes)
    found = {}
    for name in zoo.space.names:
        layer = re.fullmatch(r"([Wb])(\d+)", name)
        if layer is None:
            raise ZooError(f"{zoo.url}: tensor {name} is no weight or bias of a numbered layer")
        leaf = "weight" if layer[1] == "W" else "bias"
        found[f"{2 * (int(layer[2]) - 1)}.{leaf}"] = tuple(shapes[name])
    return found


def _tensors(
    zoo: ZooReader, theta: Tensor, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    split = zoo.space.split(theta)
    return {
        name: x.reshape(len(theta), *shape)
        for (name, shape), x in zip(shapes.items(), split.values(), strict=True)
    }


def _numbers(columns: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Columns that safetensors can hold; the split and status as numbers."""
    coded = {
        "split": np.array([SPLITS.index(s) for s in columns["split"]], np.int64),
        "diverged": (columns["status"] != "ok").astype(np.int64),
    }
    kept = {n: x for n, x in columns.items() if x.dtype.str[1:] in DTYPES and n != "member"}
    return {n: x for n, x in kept.items() if not _unknown(x)} | coded


def _unknown(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def _flax_name(name: str, layers: int, siren: bool) -> str:
    """As the arena's SIREN has it, or its plain MLP."""
    layer = int(name[1:])
    prefix = f"Dense_{layer - 1}"
    if siren:
        prefix = "output_linear" if layer == layers else f"kernel_net_{layer - 1}.linear"
    return f"{prefix}.{'kernel' if name[0] == 'W' else 'bias'}"
