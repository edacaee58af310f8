"""Shards as Parquet bytes: the door to pyarrow for zoos.

Columns are those of the contract (README, "A zoo on disk"), the same in every zoo, then the task
columns of its source. Encoding is deterministic: equal rows give equal bytes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoo_gen.errors import CorruptShard, StorageError

KEY = b"dwszoo"
Columns = dict[str, npt.NDArray[Any]]
ROW_GROUP = 2048
GROUP_BYTES = 4 << 20  # of weights in a row group: small enough for a core's cache
CONTRACT = {"member", "signal", "view", "split", "seed", "loss", "psnr", "steps", "status"}


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
    pq.write_table(
        table,
        sink,
        row_group_size=_group_rows(columns),
        compression="zstd",
        use_dictionary=["split", "status"],
        column_encoding={"theta.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _group_rows(columns: Columns) -> int:
    """Rows of a row group."""
    row = columns["theta"].shape[1] * 4 if "theta" in columns else 0
    return max(1, min(ROW_GROUP, GROUP_BYTES // max(row, 1)))


def decode(data: bytes, name: str, theta: bool = True) -> tuple[Columns, dict[str, Any]]:
    """The columns and description of one shard, checksums verified.

    A null is NaN in a column of numbers (whole numbers with nulls come as float64, as in pandas)
    and "" in one of text.

    Args:
        data: the bytes of the file.
        name: of the file, for messages.
        theta: whether to read the weights too.

    Raises:
        CorruptShard: the bytes are not a shard, or a checksum does not hold.
        StorageError: memory does not suffice to decode it.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
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
        raise CorruptShard(
            f"{name} is corrupt ({reason}); delete it and run `dwszoo generate` again to refit it"
        ) from error


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
