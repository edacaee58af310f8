"""What one pass over a zoo finds: the numbers, and every kind of damage by its own name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_gen import LocalEngine, Recipe, Signals, Store, ZooReader, open_zoo
from zoo_gen.health.health import examine
from zoo_gen.health.streaming import Ends, Moments, Thinned, Words
from zoo_gen.health.verdict import findings
from zoo_gen.make.generate import generate
from zoo_gen.zoo.layout import shard_name
from zoo_gen.zoo.shards import Columns, decode, encode

Change = Callable[[Columns], object]


@pytest.fixture
def zoo(zoo_store: Store, recipe: Recipe, tmp_path: Path) -> ZooReader:
    """A copy of the zoo of ninety networks in three shards, to be damaged."""
    shutil.copytree(zoo_store.local(recipe.folder), tmp_path / "zoo")
    return open_zoo(tmp_path / "zoo")


def shard(zoo: ZooReader, number: int) -> Path:
    """The file of a shard."""
    return zoo.store.local(f"shards/{shard_name(number)}")


def edit(zoo: ZooReader, number: int, change: Change) -> None:
    """Write a shard anew with other columns."""
    file = shard(zoo, number)
    columns, description = decode(file.read_bytes(), file.name)
    columns = {name: values.copy() for name, values in columns.items()}
    change(columns)
    file.write_bytes(encode(columns, description))


def test_a_good_zoo_is_healthy_and_its_numbers_are_those_of_its_rows(zoo: ZooReader) -> None:
    health = examine(zoo)
    assert findings(health) == []
    assert (health.there, health.ok, len(health.sizes)) == (90, 90, 3)
    frame, theta = zoo.frame(), zoo.theta()
    assert health.counts == frame.groupby(["split", "status"]).size().to_dict()
    assert health.sizes == {f.name: f.stat().st_size for f in zoo.store.local("shards").iterdir()}
    assert (health.best, health.worst) == (
        (int(frame.loss.idxmin()), frame.loss.min()),
        (int(frame.loss.idxmax()), frame.loss.max()),
    )
    assert health.numbers["psnr"].mean == pytest.approx(frame.psnr.mean())
    np.testing.assert_array_equal(health.sample.columns["label"], frame.label)
    for name, x in zoo.space.split(theta).items():
        moments = health.tensors[name].moments
        assert (moments.low, moments.high) == (float(x.min()), float(x.max()))
        assert moments.mean == pytest.approx(float(x.double().mean()), abs=1e-9)
        assert moments.std == pytest.approx(float(x.double().std(correction=0)))


def blank(columns: Columns) -> None:
    """Five networks that draw nothing: their last layer is 0, weight and bias."""
    columns["theta"][:5, -1:] = np.arange(5)[:, None]
    columns["theta"][:5, -6:-1] = 0


def kill(columns: Columns) -> None:
    """Two of the six neurons of the first layer hear nothing: their rows of W1 are 0."""
    columns["theta"][:, :4] = 1e-9 * np.arange(len(columns["theta"]))[:, None]


def copy(columns: Columns) -> None:
    columns["theta"][7] = columns["theta"][3]


DAMAGES: dict[str, tuple[tuple[int, ...], Change, str]] = {
    "copies": ((1,), copy, "networks with the weights of an earlier one: 1 .*members 35 and 39"),
    "seeds": (
        (0,),
        lambda c: c["seed"].__setitem__(6, c["seed"][0]),
        "networks with the seed and view of an earlier one: 1 .*members 0 and 6",
    ),
    "not finite": (
        (2,),
        lambda c: c["theta"].__setitem__((4, 9), np.nan),
        "networks marked ok that hold NaN or infinity: 1",
    ),
    "diverged": (
        (0,),
        lambda c: c["status"].__setitem__(slice(5), "bad"),
        r"networks that diverged: 5 of 90 \(6%\)",
    ),
    "constant": (
        (0, 1, 2),
        lambda c: c["theta"].__setitem__((slice(None), slice(12, 14)), 0.25),
        r"weights that are the same in every network: 2 of 59 \(2 of b1\)",
    ),
    "one number": (
        (1,),
        lambda c: c["theta"].__setitem__(2, 0.1),
        "networks whose weights are all one number: 1",
    ),
    "dead": ((0, 1, 2), kill, r"hidden neurons that look dead \(no weight in, or none out\): 18%"),
    "flat": ((0,), blank, "networks that draw the same value everywhere: 5 of 90"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found_and_nothing_else(zoo: ZooReader, damage: str) -> None:
    numbers, change, message = DAMAGES[damage]
    for number in numbers:
        edit(zoo, number, change)
    found = findings(examine(zoo))
    assert [bool(re.match(message, f.what)) for f in found] == [True], [str(f) for f in found]
    assert not found[0].severe


def test_a_bias_of_zero_kills_no_neuron(zoo: ZooReader) -> None:
    for number in range(3):
        edit(zoo, number, lambda c: c["theta"].__setitem__((slice(None), slice(12, 18)), 0.0))
    assert examine(zoo).dead == 0


def test_snapshots_of_one_training_share_its_seed_in_peace(zoo: ZooReader) -> None:
    for number in range(3):
        edit(zoo, number, lambda c: c.__setitem__("seed", c["signal"].astype(np.int64) + 5))
    assert findings(examine(zoo)) == []


def test_every_bad_shard_is_named_and_the_others_are_told(
    zoo: ZooReader, recipe: Recipe, signals: Signals, tmp_path: Path
) -> None:
    shard(zoo, 0).unlink()
    broken = bytearray(shard(zoo, 1).read_bytes())
    broken[600] ^= 1
    shard(zoo, 1).write_bytes(broken)
    other = replace(recipe, name="other")
    generate(Store(str(tmp_path / "root")), other, signals, LocalEngine())
    foreign = tmp_path / "root" / other.folder / "shards" / shard_name(2)
    shutil.copy(foreign, shard(zoo, 2))
    shutil.copy(foreign, shard(zoo, 7))
    health = examine(zoo)
    assert [(bad.name, bad.kind) for bad in health.bad] == [
        (shard_name(0), "missing"),
        (shard_name(1), "corrupt"),
        (shard_name(2), "corrupt"),
    ]
    assert health.there == 0
    told = findings(health)
    assert [f.severe for f in told] == [True, True, True, False]
    for finding, words in zip(
        told,
        ("shards missing: 1 of 3", "00001.parquet is corrupt", "another zoo", "00007"),
        strict=True,
    ):
        assert words in finding.what
    assert all("`dwszoo generate`" in f.advice for f in told[:3])


def test_a_shard_with_columns_of_its_own_is_bad(zoo: ZooReader) -> None:
    edit(zoo, 1, lambda c: c.__setitem__("guess", c["label"]))
    health = examine(zoo)
    assert [bad.name for bad in health.bad] == [shard_name(1)]
    assert "guess" in health.bad[0].reason
    assert health.there == 90 - 32


def test_an_incomplete_zoo_is_told_as_far_as_it_is_there(zoo: ZooReader) -> None:
    shard(zoo, 1).unlink()
    edit(zoo, 2, lambda c: c["theta"].__setitem__(5, c["theta"][3]))
    health = examine(zoo)
    assert (health.there, set(health.sizes)) == (58, {shard_name(0), shard_name(2)})
    assert health.twice(health.hashes) == (1, (67, 69))  # members, not rows that were read


def test_a_fingerprint_does_not_depend_on_shards_and_tells_weights_apart(
    zoo: ZooReader, recipe: Recipe, signals: Signals, tmp_path: Path
) -> None:
    whole = replace(recipe, zoo=replace(recipe.zoo, rows_per_shard=90))
    generate(Store(str(tmp_path)), whole, signals, LocalEngine())
    alike = examine(open_zoo(tmp_path / whole.folder)).tensors
    here = examine(zoo).tensors
    assert {n: p.short for n, p in here.items()} == {n: p.short for n, p in alike.items()}
    edit(zoo, 0, lambda c: c["theta"].__setitem__((0, 0), 3.0))
    changed = {n for n, p in examine(zoo).tensors.items() if p.short != here[n].short}
    assert changed == {"W1"}


parts = st.lists(
    st.lists(st.floats(-1e3, 1e3, width=32) | st.just(float("nan")), max_size=9), max_size=6
)


@given(parts)
def test_moments_of_parts_are_those_of_the_whole(values: list[list[float]]) -> None:
    moments, whole = Moments(), np.array([v for part in values for v in part])
    for part in values:
        moments.add(np.array(part))
    finite = whole[np.isfinite(whole)]
    assert moments.count == len(finite)
    if len(finite):
        assert (moments.low, moments.high) == (finite.min(), finite.max())
        assert moments.mean == pytest.approx(finite.mean(), abs=1e-9)
        assert moments.std == pytest.approx(finite.std(), abs=1e-6)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 16))
def test_what_is_thinned_is_every_kth_row_and_no_more_than_asked(
    lengths: list[int], most: int
) -> None:
    thinned, whole = Thinned(most), np.arange(sum(lengths))
    for part in np.split(whole, np.cumsum(lengths)[:-1]):
        thinned.add({"x": part})
    np.testing.assert_array_equal(thinned.columns["x"], whole[:: thinned.step])
    assert len(thinned.columns["x"]) <= most
    assert thinned.step == 1 or len(whole[:: thinned.step // 2]) > most


def test_words_are_counted_and_their_number_is_bounded() -> None:
    words = Words()
    words.add(np.array(["relu", "", "tanh", "relu"]))
    words.add(np.array([f"word {i}" for i in range(2000)] + ["relu"]))
    assert words.counts["relu"] == 3
    assert (len(words.counts), words.more) == (1000, 1002)
    assert "" not in words.counts


def test_one_vector_alone_is_not_constant() -> None:
    ends = Ends.of(2)
    ends.add(np.array([[1.0, 2.0]], np.float32))
    assert not ends.constant.any()
    ends.add(np.array([[1.0, 3.0]], np.float32))
    assert ends.constant.tolist() == [True, False]
