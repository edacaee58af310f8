"""Reading a zoo: rows, batches and single networks, without reading the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoo_gen import Recipe, Signals, Store, ZooError, ZooReader, open_zoo
from zoo_gen.zoo.shards import decode, encode


@pytest.fixture(scope="session")
def zoo(zoo_store: Store, recipe: Recipe) -> ZooReader:
    """Ninety networks in shards of 32."""
    return ZooReader(zoo_store, recipe.folder)


@hypothesis_settings(max_examples=25)
@given(a=st.integers(0, 90), b=st.integers(0, 90))
def test_rows_are_a_slice_of_the_whole(zoo: ZooReader, a: int, b: int) -> None:
    start, stop = min(a, b), max(a, b)
    rows, whole = zoo.rows(start, stop), zoo.columns(theta=True)
    assert torch.equal(rows.theta, torch.from_numpy(whole["theta"][start:stop]))
    for name, values in rows.columns.items():
        np.testing.assert_array_equal(values, whole[name][start:stop])


@hypothesis_settings(max_examples=25)
@given(size=st.integers(1, 100))
def test_batches_are_the_whole_in_pieces(zoo: ZooReader, size: int) -> None:
    batches = list(zoo.batches(size))
    assert [len(b) for b in batches] == [size] * (90 // size) + [90 % size] * (90 % size > 0)
    assert torch.equal(torch.cat([b.theta for b in batches]), zoo.theta())
    members = torch.cat([b.columns["member"] for b in batches])
    assert members.tolist() == list(range(90))


def reading(zoo: ZooReader, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Names of shards, as they are read."""
    seen: list[str] = []
    read = zoo.store.read
    monkeypatch.setattr(zoo.store, "read", lambda path: (seen.append(path), read(path))[1])
    return iter(seen)


def test_rows_read_only_the_shards_that_hold_them(
    zoo_store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = ZooReader(zoo_store, recipe.folder)
    seen = reading(zoo, monkeypatch)
    zoo.rows(33, 60)
    zoo.rows(40, 41)
    assert [path[-8 - 5 : -8] for path in seen] == ["00001"]


def test_batches_read_few_shards_ahead(
    zoo_store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = ZooReader(zoo_store, recipe.folder)
    seen = reading(zoo, monkeypatch)
    batches = zoo.batches(4)
    next(batches)
    assert len(list(seen)) <= 3
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 91)])
def test_rows_that_are_not_there_are_refused(zoo: ZooReader, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match="the zoo has 90 networks"):
        zoo.rows(start, stop)


def test_a_member_is_drawn_as_it_was_fitted(
    zoo: ZooReader, recipe: Recipe, signals: Signals
) -> None:
    x = signals.coordinates
    expected = recipe.zoo.fit.forward_pass.render(zoo.space, zoo.theta()[41:42], x)[0]
    torch.testing.assert_close(zoo.draw(41, x), expected, rtol=0, atol=1e-6)


def test_nulls_come_back_as_unknown() -> None:
    mask = np.array([True, False, True])
    columns = {
        "seed": np.ma.MaskedArray(np.array([1, 2, 3]), mask=mask),
        "loss": np.ma.MaskedArray(np.array([1, 2, 3], np.float32), mask=mask),
        "kind": np.ma.MaskedArray(np.array(["a", "b", "c"]), mask=mask),
        "theta": np.zeros((3, 2), np.float32),
    }
    back, _ = decode(encode(columns, {}), "name")
    np.testing.assert_array_equal(back["seed"], [np.nan, 2, np.nan])
    np.testing.assert_array_equal(back["loss"], np.array([np.nan, 2, np.nan], np.float32))
    assert back["kind"].tolist() == ["", "b", ""]


def test_bytes_do_not_depend_on_what_lies_under_a_mask() -> None:
    def shard(hidden: float) -> bytes:
        loss = np.ma.MaskedArray(np.array([hidden, 1], np.float32), mask=[True, False])
        return encode({"loss": loss, "theta": np.zeros((2, 2), np.float32)}, {})

    assert shard(3) == shard(np.nan)


def test_a_zoo_without_space_by_axes_opens_by_its_widths(tmp_path: Path, zoo: ZooReader) -> None:
    assert "axes" not in zoo.description["space"]
    assert zoo.space.widths == (2, 6, 5, 1)


def test_a_zoo_of_unknown_units_is_told_by_its_name(tmp_path: Path, zoo: ZooReader) -> None:
    strange = zoo.description | {
        "recipe": zoo.description["recipe"] | {"network": {"activation": "rel"}}
    }
    strange["recipe"]["zoo"] = zoo.description["recipe"]["zoo"] | {"fit": None}
    (tmp_path / "zoo.json").write_text(json.dumps(strange))
    with pytest.raises(ZooError, match=rf"{tmp_path}/zoo.json .* got 'rel'"):
        open_zoo(tmp_path)
