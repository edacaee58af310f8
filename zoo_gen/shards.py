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

from zoo_gen.errors import CorruptShard

KEY = b"dwszoo"
Columns = dict[str, npt.NDArray[Any]]
ROW_GROUP = 2048
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
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
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
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=["split", "status"],
        column_encoding={"theta.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


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
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        table = file.read([n for n in file.schema_arrow.names if theta or n != "theta"])
        description = json.loads(table.schema.metadata[KEY])
        return {name: _numpy(table.column(name)) for name in table.column_names}, description
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptShard(
            f"{name} is corrupt ({reason}); delete it and run `dwszoo generate` again to refit it"
        ) from error


def _numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Rows as an array, a fixed-size list as ``[rows, size]``."""
    if pa.types.is_fixed_size_list(column.type):
        # flatten() of a chunk respects its offset and length
        parts = [c.flatten().to_numpy(zero_copy_only=True) for c in column.chunks]
        flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return flat.reshape(len(column), column.type.list_size)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) and column.null_count:
        column = pc.fill_null(column, "")
    values: npt.NDArray[Any] = column.to_numpy()
    return values.astype(str) if values.dtype == object else values
