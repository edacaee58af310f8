"""Pictures in Parquet files, as on the Hugging Face hub: the door to pyarrow for sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoo_gen.errors import SourceError
from zoo_gen.sources.base import Signals, Source, existing
from zoo_gen.sources.images import images_with_labels
from zoo_gen.sources.pictures import Framing, Stack, decode

WHAT = "a Parquet file, or the directory of train*.parquet and test*.parquet"
IMAGE_COLUMNS = ("img", "image")
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Parquet(Source):
    """Encoded pictures in Parquet: ``img`` or ``image`` of type ``struct<bytes, path>``, a label.

    In a directory, files whose names begin with ``train`` and ``test`` are the parts; where there
    is only one kind, or a single file is given, `zoo.split` divides the signals.

    Attributes:
        path: a file, or the directory of the files.
        label: the column of the class, whole numbers from 0.
        gray, crop, resize: see `zoo_gen.sources.pictures.Framing`.
    """

    kind: Literal["parquet"] = "parquet"
    path: str = field(default="", metadata={"hash": False})
    label: str = "label"
    gray: bool = False
    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        Framing(self.crop, self.gray, self.resize)

    def load(self) -> Signals:
        """Signals are the rows in file order, training files first; few are encoded at a time."""
        files = parquet_files(existing(self.path, WHAT, folder=False))
        opened = [(_open(file), part) for file, part in files]
        count = sum(table.metadata.num_rows for table, _ in opened)
        if count == 0:
            raise SourceError(f"{self.path} is empty: its files have no rows")
        stack = Stack(count, Framing(self.crop, self.gray, self.resize))
        labels: list[int] = []
        parts: list[str] = []
        for (file, part), (table, _) in zip(files, opened, strict=True):
            for data, label, name in _rows(table, file, self.label):
                stack.add(decode(data, name), name)
                labels.append(label)
            parts += [part] * table.metadata.num_rows
        return images_with_labels(stack.images(), np.array(labels, np.int64), np.array(parts))


def parquet_files(place: Path) -> list[tuple[Path, str]]:
    """The files in order, each with its part.

    Raises:
        SourceError: there are none, or one beside the training and test files is neither.
    """
    if place.is_file():
        return [(place, "")]
    files = sorted(place.glob("*.parquet"))
    if not files:
        raise SourceError(f"{place} has no *.parquet files; give the directory that holds them")
    kinds = {part: [f for f in files if f.name.startswith(part)] for part in ("train", "test")}
    others = [f.name for f in files if f not in kinds["train"] and f not in kinds["test"]]
    if others and len(others) < len(files):
        raise SourceError(
            f"{place}: {others[0]} is neither train*.parquet nor test*.parquet; rename it "
            "(zoo.split takes the validation part from the training files) or take it away"
        )
    if not (kinds["train"] and kinds["test"]):
        return [(file, "") for file in files]
    return [(file, part) for part, mine in kinds.items() for file in mine]


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is not a readable Parquet file ({_line(error)})") from error


def _rows(table: pq.ParquetFile, file: Path, label: str) -> Iterator[tuple[bytes, int, str]]:
    """(encoded picture, class, name) of each row, a few rows in memory at a time."""
    schema = table.schema_arrow
    image = _image_column(schema, file)
    if label not in schema.names or not pa.types.is_integer(schema.field(label).type):
        raise SourceError(
            f"{file} has no column {label!r} of whole numbers; it has {_columns(schema)}. "
            "--set source.label=NAME chooses another"
        )
    row = 0
    try:
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=[image, label]):
            pictures, classes = batch.column(image), batch.column(label)
            if pa.types.is_struct(pictures.type):
                pictures = pictures.field("bytes")
            for data, number in zip(pictures, classes.to_pylist(), strict=True):
                name = f"{file} row {row}"
                if not data.is_valid:
                    raise SourceError(f"{name} has no picture in {image}.bytes; fill it in")
                if number is None or number < 0:
                    raise SourceError(f"{name} has {label} {number}, expected a class from 0 on")
                yield data.as_py(), number, name
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is damaged ({_line(error)}); copy it again") from error


def _image_column(schema: pa.Schema, file: Path) -> str:
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            encoded = kind.field("bytes").type if _has_bytes(kind) else kind
            if pa.types.is_binary(encoded) or pa.types.is_large_binary(encoded):
                return name
    raise SourceError(
        f"{file} has no column 'img' or 'image' of type struct<bytes: binary, path: string>; "
        f"it has {_columns(schema)}"
    )


def _has_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name}: {f.type}" for f in schema) or "none"


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
