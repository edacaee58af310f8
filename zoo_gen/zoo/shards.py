"""Shards as Parquet bytes: the door to pyarrow for zoos.

Columns are those of the contract (README, "A zoo on disk"), the same in every zoo, then the task
columns of its source. Encoding is deterministic: equal rows give equal bytes.

Parquet's own checksums are those of pages: they see no damage of headers and of the footer. So the
footer also holds, under the key ``dwszoo.crc32``, the CRC-32 of the whole file as it is with zeros
in place of these eight digits. Other readers take no notice of it.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoo_gen.errors import CorruptShard, StorageError

KEY = b"dwszoo"
SEAL, NO_SEAL = b"dwszoo.crc32", b"00000000"
SEALED = "crc32"  # the value of ``checksum`` in ``zoo.json``; older zoos lack it
Columns = dict[str, npt.NDArray[Any]]
ROW_GROUP = 2048
GROUP_BYTES = 4 << 20  # of weights in a row group: small enough for a core's cache
CONTRACT = {"member", "signal", "view", "split", "seed", "loss", "psnr", "steps", "status"}
"""The columns of every zoo, beside ``theta``."""


def encode(columns: Columns, description: dict[str, Any]) -> bytes:
    """One shard.

    Args:
        columns: of the contract, ``theta`` as float32 ``[rows, size]``. Masked entries of a masked
            array become null: what is unknown of a network that was fitted elsewhere.
        description: the content of ``zoo.json``.
    """
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name == "theta":
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            # no weight is ever null: saying so saves a reader a fifth of its time
            weight = pa.field("element", pa.float32(), nullable=False)
            kind = pa.list_(weight, values.shape[1])
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, type=kind)
        elif name in ("split", "status"):
            arrays[name] = pa.array(values.tolist()).dictionary_encode()
        else:
            unknown = np.ma.getmaskarray(values)
            if name == "psnr":
                unknown = unknown | np.isnan(np.ma.getdata(values))
            arrays[name] = pa.array(np.ma.getdata(values), mask=unknown)
    metadata = {KEY: json.dumps(description, sort_keys=True).encode()}
    table = pa.table(arrays).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=["split", "status"],
        column_encoding={"theta.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table, row_group_size=_group_rows(columns))
        writer.add_key_value_metadata({SEAL: NO_SEAL})
    return _sealed(sink.getvalue().to_pybytes())


def _sealed(data: bytes) -> bytes:
    """The same with its checksum in place."""
    start, stop = _seal_place(data)
    assert data[start:stop] == NO_SEAL
    return data[:start] + _checksum(data, start, stop) + data[stop:]


def _checksum(data: bytes, start: int, stop: int) -> bytes:
    whole = memoryview(data)
    return b"%08x" % zlib.crc32(whole[stop:], zlib.crc32(NO_SEAL, zlib.crc32(whole[:start])))


def _seal_place(data: bytes) -> tuple[int, int]:
    """Where the digits of the checksum stand, (-1, -1) in a file that has none.

    In the footer a key is followed by one byte of type, one of length, and its value.
    """
    at = data.rfind(SEAL)
    start = at + len(SEAL) + 2
    return (-1, -1) if at < 0 else (start, start + len(NO_SEAL))


def _group_rows(columns: Columns) -> int:
    """Rows of a row group."""
    row = columns["theta"].shape[1] * 4 if "theta" in columns else 0
    return max(1, min(ROW_GROUP, GROUP_BYTES // max(row, 1)))


def decode(
    data: bytes, name: str, theta: bool = True, sealed: bool = True
) -> tuple[Columns, dict[str, Any]]:
    """The columns and description of one shard, every byte verified.

    A null is NaN in a column of numbers (whole numbers with nulls come as float64, as in pandas)
    and "" in one of text.

    Args:
        data: the bytes of the file.
        name: of the file, for messages.
        theta: whether to read the weights too.
        sealed: whether it must hold a checksum of the whole file; without one, pages alone are
            verified.

    Raises:
        CorruptShard: the bytes are not a shard, or a checksum does not hold.
        StorageError: memory does not suffice to decode it.
    """
    start, stop = _seal_place(data)
    try:
        if sealed and start < 0:
            raise ValueError("it lacks its checksum")
        if start >= 0 and data[start:stop] != _checksum(data, start, stop):
            raise ValueError("its checksum does not hold")
        # a file whose own checksum holds has no page with another one
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=start < 0)
        names = [n for n in file.schema_arrow.names if theta or n != "theta"]
        # one thread, since callers read several shards side by side
        table = file.read([n for n in names if n != "theta"], use_threads=False)
        description = json.loads(table.schema.metadata[KEY])
        return {
            n: _theta(file, len(table)) if n == "theta" else _numpy(table.column(n)) for n in names
        }, description
    except MemoryError as error:  # pyarrow's own is an ArrowException too
        raise StorageError(
            f"cannot read {name}: memory is full; end other programs or take a larger machine"
        ) from error
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptShard(f"{name} is corrupt ({reason})") from error


def _theta(file: pq.ParquetFile, rows: int) -> npt.NDArray[np.float32]:
    """Weights ``[rows, size]``, by row groups, since decoding takes several times their size."""
    kind = file.schema_arrow.field("theta").type
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_float32(kind.value_type):
        raise ValueError(f"theta is {kind}, expected fixed_size_list<float>")
    theta, at = np.empty((rows, kind.list_size), np.float32), 0
    for group in range(file.num_row_groups):
        for chunk in file.read_row_group(group, ["theta"], use_threads=False)["theta"].chunks:
            # flatten() of a chunk respects its offset and length
            flat = chunk.flatten().to_numpy(zero_copy_only=True)
            theta[at : at + len(chunk)] = flat.reshape(len(chunk), kind.list_size)
            at += len(chunk)
    if at != rows:
        raise ValueError(f"theta has {at} rows, the other columns {rows}")
    return theta


def _numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Rows as an array."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) and column.null_count:
        column = pc.fill_null(column, "")
    values: npt.NDArray[Any] = column.to_numpy()
    return values.astype(str) if values.dtype == object else values
