"""Containers of named arrays: ``.safetensors``, ``.npz`` and msgpack as flax writes it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from zoo_gen.exchange.imports.files.stored import (
    MOST_TIMES,
    ROOM,
    BadFile,
    Stored,
    from_bfloat16,
    of_array,
)

SAFETENSORS_TYPES = {
    **{"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"},
    **{f"{s}{n}": f"{t}{n}" for s, t in (("I", "int"), ("U", "uint")) for n in (8, 16, 32, 64)},
}
FLAX_ARRAY, FLAX_COMPLEX, FLAX_SCALAR = 1, 2, 3  # its extension types
DEEPEST = 32  # dictionaries within one another


def read_safetensors(path: Path) -> dict[str, Any]:
    """Tensors by name, and what the metadata say beside them.

    Raises:
        BadFile: it is no such file, or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found: dict[str, Any] = {
                name: Stored(
                    tuple(piece.get_shape()),
                    SAFETENSORS_TYPES.get(piece.get_dtype(), piece.get_dtype()),
                    _of_safetensors(path, name),
                )
                for name, piece in slices.items()
            }
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadFile(f"it cannot be read ({_line(error)})") from error
    return found | {key: _plain(text) for key, text in metadata.items() if key not in found}


def _of_safetensors(path: Path, name: str) -> Callable[[], npt.NDArray[Any]]:
    def read() -> npt.NDArray[Any]:
        try:
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise BadFile(f"it cannot be read ({_line(error)})") from error
        found: npt.NDArray[Any] = (
            tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()
        )
        return found

    return read


def _plain(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_npz(path: Path) -> dict[str, Any]:
    """Arrays by name, in the order in which they were saved.

    Raises:
        BadFile: it is no such file, holds pickled objects, or claims more than it can hold.
    """
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        total = sum(info.file_size for info in archive.infolist())
        if total > max(ROOM, MOST_TIMES * path.stat().st_size):
            raise BadFile("its arrays claim far more memory than the file can hold")
        for info in archive.infolist():
            with archive.open(info) as file:
                found[info.filename.removesuffix(".npy")] = _header(file, info.file_size, path)
    return found


def _header(file: Any, size: int, path: Path) -> Stored:
    """The array whose header comes next in a file, not read yet."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise BadFile(f"it has an array in the version {version} of NumPy's format")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise BadFile("it holds pickled objects, and running their code is refused")
    name = file.name.removesuffix(".npy")
    if (
        any(n < 0 for n in shape)
        or int(np.prod([*map(int, shape), 1], dtype=object)) * (dtype.itemsize) > size
    ):
        raise BadFile(f"{name} claims to be larger than what the file stores of it")

    def read() -> npt.NDArray[Any]:
        with np.load(path, allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays[name]
        return array

    return Stored(tuple(int(n) for n in shape), dtype.name, read)


def read_msgpack(path: Path) -> dict[str, Any]:
    """The tree of arrays that ``flax.serialization.to_bytes`` writes.

    Raises:
        BadFile: it is no such file, or broken.
    """
    content = path.read_bytes()
    try:
        found = msgpack.unpackb(content, ext_hook=_extension, raw=False, strict_map_key=True)
    except BadFile:
        raise
    except Exception as error:  # its classes of errors share no base
        raise BadFile(f"it cannot be read as msgpack ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise BadFile(f"it holds a {type(found).__name__}, expected a tree of named arrays")
    return {str(key): _unchunked(value, DEEPEST) for key, value in found.items()}


def _extension(code: int, data: bytes) -> Any:
    if code not in (FLAX_ARRAY, FLAX_SCALAR):
        return None  # complex numbers, or somebody's own: no weights
    shape, name, raw = msgpack.unpackb(data, raw=False)
    array = _of_bytes(shape, name, raw)
    return of_array(array) if code == FLAX_ARRAY else array.item()


def _of_bytes(shape: Any, name: Any, raw: Any) -> npt.NDArray[Any]:
    sizes = [int(n) for n in shape]
    bfloat16 = name == "bfloat16"
    dtype = np.dtype("uint16" if bfloat16 else name)
    if dtype.kind not in "fiub" or any(n < 0 for n in sizes):
        raise BadFile(f"it has an array of the type {str(name)[:20]}, expected plain numbers")
    flat = np.frombuffer(raw, dtype)
    return (from_bfloat16(flat) if bfloat16 else flat).reshape(sizes)


def _unchunked(value: Any, deepest: int) -> Any:
    """The same tree with arrays whole that flax has cut in pieces, as it does with large ones."""
    if not isinstance(value, dict):
        return value
    if not deepest:
        raise BadFile("its dictionaries are nested too deeply")
    if "__msgpack_chunked_array__" in value:
        pieces = list((value.get("chunks") or {}).values())
        if not pieces or not all(isinstance(piece, Stored) for piece in pieces):
            raise BadFile("it has a large array in pieces that do not fit together")
        try:
            shape = [int(n) for n in (value.get("shape") or {}).values()]
            array = np.concatenate([piece.read().ravel() for piece in pieces]).reshape(shape)
        except (TypeError, ValueError, AttributeError) as error:
            raise BadFile("it has a large array in pieces that do not fit together") from error
        return of_array(array)
    return {str(key): _unchunked(child, deepest - 1) for key, child in value.items()}


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
