"""Keras' HDF5 files: whole models and weights of Keras 2 (``.h5``), ``.weights.h5`` of Keras 3."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from zoo_gen.exchange.imports.files.stored import BadFile, Stored, check_size

PATIENCE = 10  # seconds for a file of a network, which takes milliseconds
LAYERS = re.compile(r"(dense|conv[123]d)(_\d+)?$")  # those whose kernels `layers` can turn
VARIABLES = re.compile(r"(?P<layer>.+)/vars/(?P<index>\d+)$")
TRAINING = re.compile(r"(^|/)(optimizer(_weights)?|seed_generator|metrics|compile_metrics)(/|$)")
WITH_WEIGHTS = ("Dense", "Conv1D", "Conv2D", "Conv3D", "Convolution2D")


def read_keras(path: Path) -> tuple[dict[str, Any], bool]:
    """Kernels and biases by name, and whether their order is that of the layers.

    Raises:
        BadFile: it is no such file, refers to other files, or has layers of other kinds.
    """
    _rehearse(path)
    return _parsed(path)


def _rehearse(path: Path) -> None:
    """Read all of a file in a child process: the HDF5 library can hang or crash on damaged ones.

    Raises:
        BadFile: it does not come to an end, or takes the process down.
    """
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)
            found = list(_parsed(path)[0].values())
            check_size(found, path.stat().st_size)
            for stored in found:
                stored.read()
        finally:
            os._exit(0)  # what it raised, the parent raises too
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        raise BadFile("it cannot be read (damaged HDF5: its library hangs or crashes on it)")


def _parsed(path: Path) -> tuple[dict[str, Any], bool]:
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                _check_config(file.attrs.get("model_config"))
                names = [
                    f"{_text(layer)}/{_text(weight)}"
                    for layer in root.attrs["layer_names"]
                    for weight in root[_text(layer)].attrs.get("weight_names", ())
                ]
                found = {name: _stored(path, root, name) for name in names}
                return {_short(name): stored for name, stored in found.items()}, True
            return _variables(path, file), False
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise BadFile(
            "it cannot be read as HDF5 of Keras (weights of a model, whole models or .weights.h5)"
        ) from error


def _variables(path: Path, file: h5py.File) -> dict[str, Any]:
    """The variables of Keras 3, which are numbered: 0 is the kernel, 1 the bias."""
    names: list[str] = []
    file.visititems(lambda n, x: names.append(n) if isinstance(x, h5py.Dataset) else None)
    found: dict[str, Any] = {}
    for name in names:
        if TRAINING.search(name):
            continue
        match = VARIABLES.match(name)
        if match is None:
            found[name] = _stored(path, file, name)
            continue
        layer, index = match["layer"], int(match["index"])
        kind = LAYERS.fullmatch(layer.rsplit("/", 1)[-1])
        if kind is None or index > 1:
            raise BadFile(
                f"{name} is a weight of another layer than Dense and Conv1D to Conv3D, which alone "
                "can be read"
            )
        # "dense" comes before "dense_1", which only a number says
        numbered = layer if kind[2] else f"{layer}_0"
        found[f"{numbered}/{('kernel', 'bias')[index]}"] = _stored(path, file, name)
    return found


def _stored(path: Path, group: h5py.Group, name: str) -> Stored:
    dataset = group[name]
    # a name may lead to other files; weights that are not in this one are not its own
    if not isinstance(dataset, h5py.Dataset) or dataset.file.filename != group.file.filename:
        raise BadFile(f"{name} is not stored in this file")
    if dataset.external or dataset.is_virtual:
        raise BadFile(f"{name} is stored in another file; copy its numbers into this one")
    return Stored(tuple(dataset.shape), dataset.dtype.name, _reader(path, dataset.name))


def _reader(path: Path, place: str) -> Callable[[], npt.NDArray[Any]]:
    def read() -> npt.NDArray[Any]:
        try:
            with h5py.File(path, "r") as file:
                return np.asarray(file[place][()])
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise BadFile(f"{place} cannot be read (damaged HDF5)") from error

    return read


def _check_config(config: Any) -> None:
    """Refuse a whole model with layers whose kernels look alike but mean something else."""
    if config is None:
        return
    try:
        layers = json.loads(_text(config))["config"]["layers"]
        kinds = {layer["config"]["name"]: layer["class_name"] for layer in layers}
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # an older dialect; the names of the weights are checked in any case
    for name, kind in kinds.items():
        if ("Conv" in kind and kind not in WITH_WEIGHTS) or kind in ("Embedding", "EinsumDense"):
            raise BadFile(f"its layer {name} is a {kind}; only Dense and Conv1D to Conv3D are read")


def _short(name: str) -> str:
    """``dense/model/dense/kernel:0`` as ``dense/kernel``."""
    layer, *_, leaf = name.removesuffix(":0").split("/")
    if "transpose" in layer or "depthwise" in layer or "separable" in layer:
        raise BadFile(f"its layer {layer} is no Dense or Conv1D to Conv3D, which alone are read")
    return f"{layer}/{leaf}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
