"""Files that hold networks, as named tensors: every format, no code of a file is ever run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo_gen.exchange.imports.files.array_files import read_msgpack, read_npz, read_safetensors
from zoo_gen.exchange.imports.files.keras_files import read_keras
from zoo_gen.exchange.imports.files.state import State as State
from zoo_gen.exchange.imports.files.state import find_state, without
from zoo_gen.exchange.imports.files.state import weights_of as weights_of
from zoo_gen.exchange.imports.files.stored import BadFile as BadFile
from zoo_gen.exchange.imports.files.stored import Stored as Stored
from zoo_gen.exchange.imports.files.stored import bad_file_for_any_error, check_size
from zoo_gen.exchange.imports.files.torch_files import read_archive, read_bare

ENDINGS = (
    *(".pth.tar", ".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".npz"),
    *(".h5", ".hdf5", ".msgpack"),
)
INDEX = ".index.json"  # of a network in several files, as Hugging Face saves large ones
MOST_LISTING = 16 << 20  # bytes of such an index


@dataclass(frozen=True)
class Reading:
    """What a person asks for when files hold more than one network.

    Attributes:
        part: the network to take, where a file has several.
        ignore: patterns of names of tensors to leave out.
        order: names of the layers from input to output, where a file does not say.
    """

    part: str | None = None
    ignore: tuple[str, ...] = ()
    order: tuple[str, ...] | None = None

    def describe(self) -> dict[str, Any]:
        """What was asked for, as a zoo records it."""
        asked = {"part": self.part, "ignore": list(self.ignore), "order": self.order}
        return {key: value for key, value in asked.items() if value}


def read_state(path: Path, reading: Reading = Reading()) -> State:
    """The tensors of the network in a file, not yet read; no code of the file is run.

    The content decides on the format, whatever the name's ending is.

    Raises:
        BadFile: it holds no network, several, or more than tensors and plain values.
    """
    with bad_file_for_any_error():
        state = _found(path, reading.part)
        check_size(list(state.tensors.values()), _size(path))
    return without(state, reading.ignore)


def _found(path: Path, part: str | None) -> State:
    if path.name.endswith(INDEX):
        return _sharded(path, part)
    with open(path, "rb") as file:
        head = file.read(256)
    _refuse_what_is_no_network(head)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        tree, ordered = read_keras(path)
        return replace(find_state(tree, part, "/"), style="keras", ordered=ordered)
    if head.startswith(b"PK"):
        if path.name.lower().endswith(".npz"):
            return replace(find_state(read_npz(path), part, "/"), ordered=False)
        return find_state(read_archive(path), part)
    if head[8:9] == b"{" or path.name.lower().endswith(".safetensors"):
        return replace(find_state(read_safetensors(path), part), ordered=False)
    if path.name.lower().endswith(".msgpack"):
        return replace(find_state(read_msgpack(path), part, "/"), ordered=False)
    return find_state(read_bare(path), part)


def _refuse_what_is_no_network(head: bytes) -> None:
    if not head:
        raise BadFile("it cannot be read (it is empty)")
    if head.startswith(b"version https://git-lfs"):
        raise BadFile(
            "it is a pointer of Git LFS, not the weights themselves; run `git lfs pull` in its "
            "repository"
        )
    if head.lstrip()[:9].lower() in (b"<!doctype", b"<html><he"):
        raise BadFile("it is a web page, not a file of weights; download it again")


def _sharded(path: Path, part: str | None) -> State:
    """A network whose index names the file of each tensor."""
    try:
        if _size_of(path) > MOST_LISTING:
            raise BadFile("its index is larger than any that lists tensors")
        places = json.loads(path.read_text())["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile("it is no index of a network in several files") from error
    tree: dict[str, Any] = {}
    for name in names:
        if Path(name).name != name or not (path.parent / name).is_file():
            raise BadFile(f"its index names {name[:80]}, which is not in the folder")
        tree |= _found(path.parent / name, None).tensors
    if missing := [name for name in places if name not in tree]:
        raise BadFile(f"its files lack the tensor {missing[0][:80]}, which the index names")
    return replace(find_state(tree, part), ordered=False)


def _size(path: Path) -> int:
    if not path.name.endswith(INDEX):
        return _size_of(path)
    return sum(_size_of(file) for file in path.parent.iterdir() if file.is_file())


def _size_of(path: Path) -> int:
    return path.stat().st_size


def by_ending(names: Sequence[str]) -> str:
    """How many of these files have which ending, commonest first."""
    counts: dict[str, int] = {}
    for name in names:
        ending = next((e for e in ENDINGS if name.lower().endswith(e)), Path(name).suffix)
        counts[ending or "no ending"] = counts.get(ending or "no ending", 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {ending}" for ending, count in ordered)
