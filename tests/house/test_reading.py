"""The readers in docs/reading.md run as printed, and agree with each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_gen import Digits, Fit, LocalEngine, Recipe, Split, Store, Zoo, ZooReader
from zoo_gen.make.generate import generate
from zoo_gen.sources.base import grid

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reading.md").read_text()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> ZooReader:
    """Forty networks in three shards."""
    signals = Digits().load().limited(40)
    fit = Fit((2, 6, 1), w0=3.0, init="paper", steps=40, learning_rate=0.02)
    recipe = Recipe.of("small", Digits(), signals, Zoo(fit, Split(7, 1, 2), rows_per_shard=16))
    store = Store(str(tmp_path_factory.mktemp("root")))
    generate(store, recipe, signals, LocalEngine())
    return ZooReader(store, recipe.folder)


def ran(heading: str, zoo: ZooReader) -> dict[str, Any]:
    """The names that the block below a heading leaves."""
    found = re.search(rf"^## {heading}$.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    names: dict[str, Any] = {"zoo": zoo.url, "xy": grid(8, 8)}
    exec(found[1], names)
    return names


def test_pandas_reads_what_is_asked_for(zoo: ZooReader) -> None:
    names, columns = ran("pandas", zoo), zoo.columns(theta=True)
    assert list(names["frame"]) == ["member", "label", "psnr", "split"]
    np.testing.assert_array_equal(names["frame"]["member"], columns["member"])
    train = (columns["split"] == "train") & (columns["status"] == "ok")
    np.testing.assert_array_equal(names["theta"], columns["theta"][train])
    assert names["theta"].dtype == np.float32


def test_duckdb_counts_and_orders_as_the_columns_say(zoo: ZooReader) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    names, columns = ran("DuckDB", zoo), zoo.columns(theta=True)
    counts = names["counts"].set_index("split")["networks"]
    assert counts.to_dict() == {s: (columns["split"] == s).sum() for s in set(columns["split"])}
    np.testing.assert_array_equal(names["theta"], columns["theta"][names["best"]["member"]])
    assert columns["psnr"][names["best"]["member"]].min() == np.sort(columns["psnr"])[-10]


def test_a_network_in_torch_alone_draws_the_same(zoo: ZooReader) -> None:
    names = ran("A network in torch alone", zoo)
    ours = zoo.draw(names["i"], grid(8, 8))[:, 0]
    np.testing.assert_allclose(names["image"].flatten(), ours, rtol=0, atol=1e-5)


def test_our_reader_gives_what_the_columns_hold(zoo: ZooReader) -> None:
    names = ran("In Python", zoo)
    theta = zoo.theta()
    np.testing.assert_array_equal(names["weights"], theta)
    np.testing.assert_array_equal(names["some"], theta[:8])
    assert names["space"] == zoo.space
    assert names["image"].shape == (64, 1)
