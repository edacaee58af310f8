"""A shard's bytes: the contract's columns, open to any reader, checked on reading."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoo_gen import CorruptShard, Recipe, StorageError, Store, ZooReader
from zoo_gen.zoo.shards import decode, encode

WEIGHT = pa.field("element", pa.float32(), nullable=False)


@pytest.fixture(scope="session")
def shard(zoo_store: Store, recipe: Recipe) -> bytes:
    return zoo_store.read(f"{recipe.folder}/shards/part-00000.parquet")


def test_columns_and_types_are_those_of_the_contract(shard: bytes) -> None:
    schema = pq.read_schema(pa.BufferReader(shard))
    text = pa.dictionary(pa.int32(), pa.string())
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "member": pa.int64(),
        "signal": pa.int64(),
        "view": pa.int32(),
        "split": text,
        "seed": pa.int64(),
        "theta": pa.list_(WEIGHT, 2 * 6 + 6 + 6 * 5 + 5 + 5 + 1),
        "loss": pa.float32(),
        "psnr": pa.float32(),
        "steps": pa.int32(),
        "status": text,
        "label": pa.int64(),
    }


def test_the_metadata_is_zoo_json_and_the_execution(
    shard: bytes, zoo_store: Store, recipe: Recipe
) -> None:
    metadata = json.loads(pq.read_schema(pa.BufferReader(shard)).metadata[b"dwszoo"])
    assert metadata.pop("fitting")
    assert metadata == json.loads(zoo_store.read(f"{recipe.folder}/zoo.json"))


def test_pandas_alone_reads_what_we_read(shard: bytes) -> None:
    frame = pd.read_parquet(io.BytesIO(shard))
    columns, _ = decode(shard, "shard")
    for name, values in columns.items():
        theirs = np.stack(frame[name]) if name == "theta" else frame[name].to_numpy()
        np.testing.assert_array_equal(theirs, values)


@hypothesis_settings(max_examples=20)
@given(st.integers(1, 5000), st.integers(1, 4))
def test_decoding_undoes_encoding(rows: int, size: int) -> None:
    rng = np.random.default_rng(rows)
    columns = {
        "member": np.arange(rows),
        "split": np.array(["train", "val"])[rng.integers(0, 2, rows)],
        "theta": rng.random((rows, size), np.float32),
        "psnr": np.where(rng.random(rows) < 0.5, np.nan, 1.0).astype(np.float32),
    }
    back, description = decode(encode(columns, {"a": [1]}), "name")
    assert description == {"a": [1]}
    for name, values in columns.items():
        np.testing.assert_array_equal(back[name], values)


def test_encoding_is_deterministic(shard: bytes) -> None:
    columns, description = decode(shard, "shard")
    assert encode(columns, description) == encode(columns, description)


@pytest.fixture(scope="session")
def little() -> bytes:
    """A shard of few bytes, with every kind of page and its footer."""
    rng = np.random.default_rng(0)
    columns = {
        "member": np.arange(4),
        "split": np.array(["train", "val", "train", "test"]),
        "theta": rng.random((4, 3), np.float32),
        "psnr": np.array([1, np.nan, 2, 3], np.float32),
    }
    return encode(columns, {"hash8": "01234567", "members": 4})


def test_a_flipped_byte_anywhere_is_detected_and_the_file_named(little: bytes) -> None:
    for at in range(len(little)):
        broken = bytearray(little)
        broken[at] ^= 1 << at % 8
        with pytest.raises(CorruptShard, match=r"the/shard is corrupt"):
            decode(bytes(broken), "the/shard")


@hypothesis_settings(max_examples=100)
@given(st.data())
def test_damage_of_any_kind_is_detected(shard: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(shard) - 1))
    stop = data.draw(st.integers(start, len(shard)))
    broken = shard[:start] + data.draw(st.binary(max_size=20)) + shard[stop:]
    assume(broken != shard)
    with pytest.raises(CorruptShard, match="the/shard is corrupt"):
        decode(broken, "the/shard")


def test_a_shard_without_a_checksum_is_read_where_its_zoo_is_older(little: bytes) -> None:
    table = pq.read_table(pa.BufferReader(little))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    older = sink.getvalue().to_pybytes()
    assert decode(older, "older", sealed=False)[1] == decode(little, "little")[1]
    with pytest.raises(CorruptShard, match="lacks its checksum"):
        decode(older, "older")


@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1" + bytes(100) + b"PAR1"])
def test_other_bytes_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(CorruptShard, match=r"some/file\.parquet is corrupt"):
        decode(content, "some/file.parquet")


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CorruptShard, match=r"a\.parquet"):
        decode((tmp_path / "a.parquet").read_bytes(), "a.parquet")


@pytest.mark.parametrize("kind", [MemoryError, pa.ArrowMemoryError])
def test_a_lack_of_memory_is_not_taken_for_a_damaged_file(
    shard: bytes, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise kind("malloc of size 9 failed")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", full)
    with pytest.raises(StorageError, match="cannot read the/shard: memory is full"):
        decode(shard, "the/shard")


def test_a_frame_has_everything_but_the_weights(zoo_store: Store, recipe: Recipe) -> None:
    frame = ZooReader(zoo_store, recipe.folder).frame()
    assert len(frame) == 90
    assert "theta" not in frame
    assert (frame.groupby("signal")["split"].nunique() == 1).all()
    assert (frame.member == frame.signal * 3 + frame.view).all()
