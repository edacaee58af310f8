"""What the README and docs/reading.md show of readers of a zoo runs, and agrees with dwszoo."""

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
    names: dict[str, Any] = {"zoo": zoo.url}
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
    names = ran("A network of it", zoo)
    ours = zoo.draw(names["i"], grid(8, 8))[:, 0]
    np.testing.assert_allclose(names["image"].flatten(), ours, rtol=0, atol=1e-5)


def test_the_readme_opens_a_zoo_with_every_reader(
    zoo: ZooReader, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    section = (ROOT / "README.md").read_text().split("\n## A zoo on disk\n")[1].split("\n## ")[0]
    ours, pandas_and_duckdb = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {"xy": grid(8, 8)}
    for block in (ours, pandas_and_duckdb):
        exec(block.replace("dwszoo-data/zoos/digits-…", zoo.url), names)
    assert list(names["frame"]) == ["member", "label", "psnr"]
    counts = re.findall(r"(train|val|test) *│ *(\d+)", capsys.readouterr().out)
    assert {split: int(count) for split, count in counts} == {"train": 28, "val": 4, "test": 8}
