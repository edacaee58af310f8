"""Tensors of a file that have not been read yet, and what a file may ask of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_TENSORS = 4096
ROOM = 256 << 20  # bytes of tensors that any file may hold, however small it is
MOST_TIMES = 16  # beyond that: tensors may be this many times larger than the file

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
INTEGERS = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32"}) | {
    "int64",
    "uint64",
}


class BadFile(Exception):
    """A file that cannot be imported; says why."""


@contextmanager
def bad_file_for_any_error() -> Iterator[None]:
    """What a parser raises on a broken or hostile file is not listed anywhere: all of it counts.

    Raises:
        BadFile: the block raised an exception; ``--debug`` shows which.
    """
    try:
        yield
    except BadFile:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
        raise BadFile(f"it cannot be read ({reason})") from error


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a file, by its place in it.

    Attributes:
        shape: its sizes.
        dtype: as torch names it, without ``torch.``.
        read: its numbers, float32 where the file has bfloat16; raises `BadFile`.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], npt.NDArray[Any]] = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it can be weights."""
        return self.dtype in FLOATS

    def item(self) -> int | float | None:
        """Its only number; None where it has several, or of another type than a plain number."""
        if self.size != 1 or self.dtype not in FLOATS | INTEGERS:
            return None
        value = self.read().reshape(-1)[0].item()
        return float(value) if self.is_float else int(value)


def of_array(array: npt.NDArray[Any]) -> Stored:
    """A tensor that is in memory already."""
    return Stored(array.shape, array.dtype.name, lambda: array)


def from_bfloat16(raw: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The float32 numbers whose upper halves these are; exact."""
    return (raw.astype(np.uint32) << 16).view(np.float32)


def check_size(tensors: list[Stored], file_size: int) -> None:
    """Refuse a file whose tensors would take far more memory than the file takes on disk.

    Raises:
        BadFile: they would, or there are too many.
    """
    if len(tensors) > MOST_TENSORS:
        raise BadFile(f"it holds {len(tensors):,} tensors, expected at most {MOST_TENSORS:,}")
    if sum(8 * tensor.size for tensor in tensors) > max(ROOM, MOST_TIMES * file_size):
        raise BadFile(
            f"its tensors claim far more memory than its {file_size:,} bytes can hold; it is "
            "broken or malicious"
        )
