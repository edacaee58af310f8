"""What ``torch.save``, ``torch.jit.save`` and plain pickle write, read without torch's unpickler.

Three containers: a zip archive (torch 1.6 and later; TorchScript has the same with its code beside
it), a run of pickles followed by raw storages (before), and a bare pickle of NumPy arrays. In each
the pickle is read as data (`pickles`), and tensors by the meaning of the few functions with which
torch and NumPy rebuild them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen.exchange.imports.files.pickles import Global, Record, read_pickle
from zoo_gen.exchange.imports.files.stored import BadFile, Stored, from_bfloat16

LEGACY = 0x1950A86A20F9469CFC6C  # the first pickle of a file of torch before 1.6
MOST_PICKLE = 256 << 20  # bytes of a pickle in an archive
ZIP_HEADER = 30  # bytes before a record's name

STORAGES = {  # class of a storage -> dtype of torch, and the one in which NumPy reads it
    "Float": ("float32", "f4"),
    "Double": ("float64", "f8"),
    "Half": ("float16", "f2"),
    "BFloat16": ("bfloat16", "u2"),
    "Long": ("int64", "i8"),
    "Int": ("int32", "i4"),
    "Short": ("int16", "i2"),
    "Char": ("int8", "i1"),
    "Byte": ("uint8", "u1"),
    "Bool": ("bool", "?"),
    "ComplexFloat": ("complex64", "c8"),
    "ComplexDouble": ("complex128", "c16"),
}
OF_DTYPE = {dtype: (dtype, code) for dtype, code in STORAGES.values()}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers in a file, which tensors are views of."""

    dtype: str
    code: str
    numel: int
    at: int
    order: str
    path: Path
    check: Callable[[], None] = lambda: None

    def numbers(self, first: int, last: int) -> npt.NDArray[Any]:
        """Those from one place up to another."""
        item = np.dtype(self.order + self.code)
        self.check()
        with open(self.path, "rb") as file:
            file.seek(self.at + first * item.itemsize)
            raw = file.read((last - first) * item.itemsize)
        try:
            found = np.frombuffer(raw, item, last - first)
        except ValueError as error:
            raise BadFile("it ends in the middle of a tensor") from error
        return from_bfloat16(found) if self.dtype == "bfloat16" else found


def read_archive(path: Path) -> Any:
    """The object in a zip archive of ``torch.save`` or ``torch.jit.save``.

    Raises:
        BadFile: it is none, or broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = {info.filename: info for info in archive.infolist()}
            main = next((n for n in records if n.endswith("/data.pkl") or n == "data.pkl"), None)
            if main is None:
                raise BadFile("it is a zip archive, but not one of torch.save (it has no data.pkl)")
            folder = main.removesuffix("data.pkl")
            size = path.stat().st_size
            if records[main].file_size > min(MOST_PICKLE, size):
                raise BadFile("its data.pkl is larger than any that torch.save writes")
            pickled = _record(path, records[main])
            named = records.get(f"{folder}byteorder")
            order = ">" if named and _record(path, named) == b"big" else "<"
    except BadFile:
        raise
    except Exception as error:  # zipfile raises some ten kinds on broken archives
        raise BadFile("it cannot be read (a broken or incomplete archive)") from error
    checks: dict[str, Callable[[], None]] = {}

    def persistent(pid: Any) -> Any:
        dtype, code, key, numel = _storage(pid)
        record = records.get(f"{folder}data/{key}") or records.get(f"{folder}{key}")
        if record is None:
            raise BadFile("it lacks numbers of a tensor (an incomplete archive)")
        at = _start(path, record)
        room = min(record.file_size, size - at) // np.dtype(code).itemsize
        if numel > room and dtype != "untyped":
            raise BadFile("a tensor of it is longer than what the file stores of it")
        check = checks.setdefault(key, cache(partial(_verify, path, record)))
        numel = room if dtype == "untyped" else numel
        return Storage(dtype, code, numel, at, order, path, check)

    return read_pickle(io.BytesIO(pickled), persistent)


def _start(path: Path, record: zipfile.ZipInfo) -> int:
    """Where the content of a record begins, which must not be compressed."""
    if record.compress_type:
        raise BadFile(f"{record.filename} is compressed, which torch.save never does")
    with open(path, "rb") as file:
        file.seek(record.header_offset)
        header = file.read(ZIP_HEADER)
    if len(header) < ZIP_HEADER:
        raise BadFile("it ends in the middle of a tensor")
    name, extra = struct.unpack("<HH", header[26:30])
    return record.header_offset + ZIP_HEADER + int(name) + int(extra)


def _record(path: Path, record: zipfile.ZipInfo) -> bytes:
    """The content of a record, whose checksum is right or was not computed (0)."""
    with open(path, "rb") as file:
        file.seek(_start(path, record))
        content = file.read(min(record.file_size, path.stat().st_size))
    if record.CRC and zlib.crc32(content) != record.CRC:
        raise BadFile(f"the checksum of {record.filename} is wrong: the file is damaged")
    return content


def _verify(path: Path, record: zipfile.ZipInfo) -> None:
    _record(path, record)


def read_bare(path: Path) -> Any:
    """The object in a file of torch before 1.6, or in a bare pickle.

    Raises:
        BadFile: it is neither, or broken.
    """
    file = io.BytesIO(path.read_bytes())
    first = read_pickle(file)
    if first != LEGACY or isinstance(first, bool):
        return first
    read_pickle(file)  # version of the format
    read_pickle(file)  # sizes of the machine's types
    wanted: dict[str, tuple[str, str, int]] = {}
    places: dict[str, Storage] = {}

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and pid and pid[0] == "module" and len(pid) > 1:
            return pid[1]  # a class, beside its source code
        dtype, code, key, numel = _storage(pid)
        wanted[key] = (dtype, code, numel)
        view = pid[5] if len(pid) > 5 else None  # a part of another storage
        offset = view[1] if isinstance(view, tuple) and len(view) == 3 else 0
        if type(offset) is not int or offset < 0:
            raise BadFile("it cannot be read (a broken pickle)")
        if offset:
            raise BadFile(
                "a storage of it is part of another one; save it again with a newer torch"
            )
        return _Later(key, places)

    found = read_pickle(file, persistent)
    keys = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(k, str) and k in wanted for k in keys):
        raise BadFile("it cannot be read (a broken list of tensors)")
    size = file.getbuffer().nbytes
    for key in keys:
        dtype, code, numel = wanted[key]
        head = file.read(8)
        stored = int.from_bytes(head, "little", signed=True)
        at, length = file.tell(), stored * np.dtype(code).itemsize
        if len(head) < 8 or stored < numel or at + length > size:
            raise BadFile("it ends in the middle of a tensor")
        places[key] = Storage(dtype, code, numel, at, "<", path)
        file.seek(length, 1)
    return found


@dataclass(frozen=True, slots=True)
class _Later:
    """A storage whose place is known after the pickle that names it."""

    key: str
    places: dict[str, Storage]


def _storage(pid: Any) -> tuple[str, str, str, int]:
    """dtype, NumPy's code, key and length, of what stands for a storage in a pickle."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
        raise BadFile("it refers to something beside its tensors; save its state dict")
    kind, key, numel = pid[1], str(pid[2])[:200], pid[4]
    if type(numel) is not int or not 0 <= numel < 1 << 62:
        raise BadFile("it has a tensor of an impossible size")
    name = kind.name.rsplit(".", 1)[-1] if isinstance(kind, Global) else ""
    dtype, code = STORAGES.get(name.removesuffix("Storage"), ("untyped", "u1"))
    return dtype, code, key, numel


def as_tensor(value: Any) -> Stored | None:
    """The tensor that a record would have been rebuilt to; None if it is something else.

    Raises:
        BadFile: a tensor that reaches beyond what the file stores.
    """
    for _ in range(4):  # a parameter around a tensor, at most
        if isinstance(value, Stored):
            return value
        if not isinstance(value, Record) or not isinstance(value.of, Global):
            return None
        rule = REBUILD.get(value.of.name)
        if rule is None:
            return None
        try:
            value = rule(value)
        except (IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadFile(f"it has a tensor that cannot be rebuilt by {value.name}") from error
    return None


def _view(record: Record) -> Stored:
    storage, offset, size, stride = record.args[:4]
    return _strided(storage, offset, size, stride, None)


def _typed_view(record: Record) -> Stored:
    storage, offset, size, stride, _, _, dtype, *_ = record.args
    return _strided(storage, offset, size, stride, dtype.name.rsplit(".", 1)[-1])


def _strided(storage: Any, offset: Any, size: Any, stride: Any, dtype: str | None) -> Stored:
    if isinstance(storage, _Later):
        storage = storage.places.get(storage.key)
    if not isinstance(storage, Storage):
        raise BadFile(
            "it has a tensor without numbers (written by pickle?); write it with "
            "torch.save(net.state_dict(), FILE)"
        )
    if isinstance(size, Record):  # torch.Size
        (size,) = size.args
    if dtype is not None:
        known = OF_DTYPE.get(dtype)
        item = np.dtype(known[1]).itemsize if known else 1
        code = known[1] if known else "u1"
        storage = replace(storage, dtype=dtype, code=code, numel=storage.numel // item)
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise BadFile("it has a tensor of an impossible shape")
    shape = tuple(size)
    numel = 1
    for n in shape:
        numel *= n
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1 if numel else 0
    if last > storage.numel:
        raise BadFile("it has a tensor that reaches beyond what the file stores of it")
    if numel > storage.numel:
        raise BadFile("it has a tensor of more numbers than the file stores (an expanded one)")

    def read() -> npt.NDArray[Any]:
        if not numel:
            return np.zeros(shape, np.float32)
        flat = storage.numbers(offset, last)
        steps = tuple(s * flat.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(flat, shape, steps).copy()

    return Stored(shape, storage.dtype, read)


def _array(record: Record) -> Stored:
    """NumPy's ``_reconstruct``, whose state is (version, shape, dtype, Fortran order, bytes)."""
    _, shape, dtype, fortran, raw = record.state
    return _of_bytes(raw, dtype, shape, "F" if fortran is True else "C")


def _from_buffer(record: Record) -> Stored:
    raw, dtype, shape, order, *_ = record.args
    return _of_bytes(raw, dtype, shape, order)


def _scalar(record: Record) -> Stored:
    dtype, raw = record.args
    return _of_bytes(raw, dtype, (), "C")


def _of_bytes(raw: Any, dtype: Any, shape: Any, order: str) -> Stored:
    if isinstance(raw, Record) and raw.name == "_codecs.encode":
        raw = raw.args[0]  # bytes as old pickles have them: text, a character for each
    elif isinstance(raw, Record) and raw.name in ("builtins.bytes", "__builtin__.bytes"):
        raw = b""
    if not isinstance(raw, str | bytes | bytearray):
        raise BadFile("it has an array without numbers")
    kind = dtype.args[0]
    if not isinstance(kind, str) or kind not in SIMPLE:
        raise BadFile("it has an array that does not hold plain numbers")
    state = dtype.state
    item = np.dtype((">" if isinstance(state, tuple) and state[1] == ">" else "<") + kind)
    sizes = tuple(shape)
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in sizes):
        raise BadFile("it has an array of an impossible shape")
    numel = 1
    for n in sizes:
        numel *= n
    if numel * item.itemsize != len(raw):
        raise BadFile("it has an array whose numbers do not fit its shape")

    def read() -> npt.NDArray[Any]:
        content = raw.encode("latin-1") if isinstance(raw, str) else raw
        return np.frombuffer(content, item).reshape(sizes, order="F" if order == "F" else "C")

    return Stored(sizes, item.name, read)


SIMPLE = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
REBUILD: dict[str, Callable[[Record], Any]] = {
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_tensor_v3": _typed_view,
    "torch._utils._rebuild_parameter": lambda record: record.args[0],
    "torch._utils._rebuild_parameter_with_state": lambda record: record.args[0],
    "torch._utils._rebuild_device_tensor_from_numpy": lambda record: record.args[0],
    "torch._tensor._rebuild_from_type_v2": lambda r: Record(r.args[0], r.args[2]),
    **{f"numpy.{core}.multiarray._reconstruct": _array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
