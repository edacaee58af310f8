"""Files that attack, and files cut and changed at random: refused in words, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
import test_readable_files as readable
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import siren

from zoo_gen.exchange.imports.checkpoints import read_file
from zoo_gen.exchange.imports.files import BadFile

SECONDS = 30.0  # generous: the slowest of these takes a tenth of it on an idle machine
BYTES = 1 << 30
STORAGE = object()


class Calls:
    """Pickled as a call of some function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def archive(pickled: bytes, **records: bytes) -> bytes:
    """A file of torch with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as found:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **records}.items():
            found.writestr(f"a/{name}", content)
    return file.getvalue()


def tensor(numel: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A state dict of one tensor whose storage has four numbers."""
    file = io.BytesIO()

    class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
        def persistent_id(self, obj: Any) -> Any:
            if obj is STORAGE:
                return ("storage", torch.FloatStorage, "0", "cpu", numel)
            return None

    args = (STORAGE, offset, size, stride, False, {})
    Pickler(file, 2).dump({"0.weight": Calls(torch._utils._rebuild_tensor_v2, *args)})
    return archive(file.getvalue(), **{"data/0": struct.pack("<4f", 1, 2, 3, 4)})


def bomb_of_lists() -> bytes:
    """Lists that have the list before ten times: 10^50 elements for whoever walks through them."""
    content: list[Any] = []
    for _ in range(50):
        content = [content] * 10
    return pickle.dumps(content, 2)


def bomb_of_modules() -> bytes:
    """Modules that have the module before twice, forty levels deep."""
    content: Any = torch.nn.Linear(2, 2)
    for _ in range(40):
        outer = torch.nn.Module()
        outer.add_module("a", content)
        outer.add_module("b", content)
        content = outer
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def hdf5_of(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as found:
        found.create_dataset("layers/dense/vars/0", shape, "f4", chunks=(1, 1024))
    return file.getvalue()


def npz_of(header: str) -> bytes:
    file = io.BytesIO()
    text = header.ljust(118).encode() + b"\n"
    with zipfile.ZipFile(file, "w") as found:
        npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
        found.writestr("0.weight.npy", npy)
    return file.getvalue()


def deep_msgpack() -> bytes:
    return b"\x81\xa1a" * 5000 + b"\x01"


def flax_of(shape: tuple[int, ...]) -> bytes:
    array = msgpack.ExtType(1, msgpack.packb((shape, "float32", b"\0\0\0\0")))
    return msgpack.packb({"params": {"Dense_0": {"kernel": array}}})


ATTACKS: dict[str, tuple[str, bytes | Callable[[], bytes], str]] = {
    "a huge tensor": ("a.pth", lambda: tensor(4, (1 << 40, 1 << 20), (1, 1)), "reaches beyond"),
    "an expanded tensor": ("a.pth", lambda: tensor(4, (1 << 40, 4), (0, 1)), "more numbers"),
    "a huge storage": ("a.pth", lambda: tensor(1 << 50, (2, 2), (2, 1)), "longer than"),
    "a negative offset": ("a.pth", lambda: tensor(4, (2, 2), (2, 1), -8), "impossible shape"),
    "a view past the end": ("a.pth", lambda: tensor(4, (2, 2), (2, 1), 1), "reaches beyond"),
    "a hundred thousand lists in lists": ("a.pt", nested(100_000), "expected a state dict"),
    "lists of lists of one list": ("a.pt", bomb_of_lists, "expected a state dict"),
    "modules of modules of one module": ("a.pt", bomb_of_modules, "more modules"),
    "a long string": ("a.pt", b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.", "cannot be read"),
    "five million steps": ("a.pt", b"\x80\x02" + b"N0" * 2_500_000 + b"N.", "4,000,000 steps"),
    "a pickle in a tar": ("a.pt", b"\x80\x02cposix\nsystem\nX\x01\0\0\0a\x85R.", "posix.system"),
    "a way through a module": ("a.pt", b"\x80\x04\x8c\x06random\x8c\x0a_os.system\x93.", "_os"),
    "eval": ("a.pt", b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
    "an extension": ("a.pt", b"\x80\x02\x82\x01.", "instruction EXT1"),
    "a huge dataset": ("a.h5", lambda: hdf5_of((1 << 30, 1 << 30)), "far more memory"),
    "a huge array": ("a.npz", lambda: npz_of(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }"), "larger than"),
    "an array of objects": ("a.npz", lambda: npz_of(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), "pickled objects"),
    "a header that is code": ("a.npz", lambda: npz_of("__import__('os').mkdir('ran')"), "cannot"),
    "deep dictionaries": ("a.msgpack", deep_msgpack, "msgpack"),
    "an array that lacks numbers": ("a.msgpack", lambda: flax_of((1 << 40, 2)), "msgpack"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_in_bounded_time_and_memory(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, made, message = ATTACKS[attack]
    file = tmp_path / name
    file.write_bytes(made if isinstance(made, bytes) else made())
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(BadFile, match=message):
            read_file(file)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < SECONDS
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["alone", "as a tensor", "beside the weights"])
def test_a_call_is_never_made_and_always_named(tmp_path: Path, protocol: int, place: str) -> None:
    trace = tmp_path / "ran"
    call = Calls(os.mkdir, str(trace))
    weights = {"0.weight": np.zeros((2, 3), np.float32)}
    content: Any = {
        "alone": call,
        "as a tensor": {"0.weight": call},
        "beside the weights": {**weights, "note": call},
    }[place]
    file = tmp_path / "a.pt"
    file.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(BadFile, match=r"(posix|nt)\.mkdir.*refused"):
        read_file(file)
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists()  # it is an attack indeed


def test_an_unknown_object_in_place_of_a_tensor_is_named(tmp_path: Path) -> None:
    torch.save({"0.weight": Calls(siren, 0, 2, 1)}, tmp_path / "a.pth")
    with pytest.raises(BadFile, match=r"0\.weight holds more than tensors \(layouts\.siren\)"):
        read_file(tmp_path / "a.pth")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good file of each kind, by its row in the docs."""
    found = {}
    for row, write in readable.ROWS.items():
        folder = tmp_path_factory.mktemp("original")
        write(siren(3, 2, 6, 5, 1), folder)
        found[row] = next(p for p in folder.rglob("*") if p.suffix not in ("", ".json"))
    return found


ARCHITECTURE = (
    *(("W1", (6, 2)), ("b1", (6,)), ("W2", (5, 6)), ("b2", (5,)), ("W3", (1, 5)), ("b3", (1,))),
)
outcomes: Counter[str] = Counter()


@settings(
    max_examples=int(os.environ.get("DWSZOO_FUZZ", "300")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_and_an_archive_only_as_it_was(
    originals: list[tuple[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    row = data.draw(st.sampled_from(list(originals)))
    ending, good = originals[row].suffix, originals[row].read_bytes()
    theta = read_file(originals[row]).theta() if originals[row].suffix != ".safetensors" else None
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        change = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat", "zero"]))
        some = data.draw(st.binary(min_size=1, max_size=12))
        if change == "flip":
            content[at : at + len(some)] = some
        elif change == "cut":
            del content[at : at + data.draw(st.integers(1, len(content) + 1))]
        elif change == "insert":
            content[at:at] = some
        elif change == "repeat":
            content[at:at] = content[at : at + 200]
        else:
            content[at : at + 40] = bytes(len(content[at : at + 40]))
    file = tmp_path_factory.getbasetemp() / f"fuzzed{ending}"
    file.write_bytes(content)
    outcome = "refused"
    with suppress(BadFile):
        network = read_file(file)
        same = theta is not None and np.array_equal(network.theta(), theta)
        outcome = "same" if same else "other numbers"
        if network.architecture != ARCHITECTURE:
            outcome = "other shapes"
        # archives have checksums; of the rest, a change of numbers cannot be seen
        assert same or not good.startswith(b"PK"), outcome
    outcomes[f"{ending} {outcome}"] += 1


@settings(max_examples=int(os.environ.get("DWSZOO_FUZZ", "300")), deadline=None)
@given(content=st.binary(max_size=300), ending=st.sampled_from([".pth", ".npz", ".h5", ".msgpack"]))
def test_noise_is_refused(content: bytes, ending: str, tmp_path_factory: Any) -> None:
    file = tmp_path_factory.getbasetemp() / f"noise{ending}"
    heads = {".pth": b"\x80\x02", ".npz": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n"}
    for head in (b"", heads.get(ending, b"\x81")):
        file.write_bytes(head + content)
        with suppress(BadFile):
            read_file(file)
            raise AssertionError("noise was read as a network")


@pytest.mark.parametrize("damage", ["compressed data", "a password"])
def test_an_archive_that_cannot_be_unpacked_is_refused(damage: str, tmp_path: Path) -> None:
    """zlib and zipfile have errors of their own for these, which are no `BadZipFile`."""
    file, name = tmp_path / "net.npz", "0.weight.npy"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(range(256)))
    content = bytearray(file.read_bytes())
    if damage == "a password":
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    else:
        at = 30 + len(name)
        content[at : at + 4] = b"\xff" * 4
    file.write_bytes(content)
    with pytest.raises(BadFile, match="cannot be read"):
        read_file(file)
