"""Sources tell the truth about their signals, and refuse what they cannot read."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_gen import ConfigError, Digits, Idx, SourceError
from zoo_gen.sources import proportional


def idx(data: np.ndarray) -> bytes:
    """An IDX file, written from the description of the format."""
    header = bytes([0, 0, 8, data.ndim]) + b"".join(struct.pack(">I", n) for n in data.shape)
    return header + data.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny data set in IDX files, compressed and plain."""
    rng = np.random.default_rng(0)
    for stem, n in (("train", 12), ("t10k", 4)):
        images = idx(rng.integers(0, 256, (n, 5, 4)))
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 3))
    return tmp_path


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    signals, digits = Digits().load(), load_digits()
    assert len(signals) == 1797
    assert signals.shape == (8, 8)
    assert signals.columns["label"].tolist() == digits.target.tolist()
    targets = signals.targets(np.arange(1797)).reshape(-1, 8, 8)
    np.testing.assert_allclose(targets, digits.images / 16, atol=0.5 / 255 + 1e-7)


def test_coordinates_are_row_then_column_in_minus_one_to_one() -> None:
    grid = Digits().load().coordinates.reshape(8, 8, 2)
    assert (grid[0, 0] == [-1, -1]).all()
    assert (grid[0, 7] == [-1, 1]).all()
    assert (grid[7, 0] == [1, -1]).all()


def test_mnist_counts_and_parts(mnist: Path) -> None:
    signals = Idx(path=str(mnist)).load()
    assert len(signals) == 70_000
    assert (signals.part == "train").sum() == 60_000
    assert (signals.part[60_000:] == "test").all()
    assert signals.columns["label"][:5].tolist() == [5, 0, 4, 1, 9]
    assert signals.columns["label"][60_000:60_005].tolist() == [7, 2, 1, 0, 4]


def test_limit_keeps_the_first_of_each_part_and_their_index(folder: Path) -> None:
    signals = Idx(path=str(folder)).load().limited(8)
    assert signals.index.tolist() == [0, 1, 2, 3, 4, 5, 12, 13]
    assert signals.part.tolist() == ["train"] * 6 + ["test"] * 2


def test_fingerprint_depends_on_content_and_not_on_place_or_compression(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = Idx(path=str(folder)).load()
    other = tmp_path_factory.mktemp("copy")
    for file in folder.iterdir():
        data = file.read_bytes()
        plain = gzip.decompress(data) if file.suffix == ".gz" else data
        (other / file.name.removesuffix(".gz")).write_bytes(plain)
    copy = Idx(path=str(other)).load()
    assert copy.fingerprint == before.fingerprint
    labels = other / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x02")
    assert Idx(path=str(other)).load().fingerprint != before.fingerprint


@pytest.mark.parametrize("limit", [0, -1, 17])
def test_limit_out_of_range_is_refused(folder: Path, limit: int) -> None:
    with pytest.raises(ConfigError, match=rf"limit: got {limit}, expected 1 to 16"):
        Idx(path=str(folder)).load().limited(limit)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"
DAMAGE = {
    "missing": (IMAGES, None, "has no train-images"),
    "truncated": (LABELS, idx(np.arange(12) % 3)[:-2], "promises 12 bytes, it holds 10"),
    "trailing": (LABELS, idx(np.arange(12) % 3) + b"x", "promises 12 bytes, it holds 13"),
    "truncated gzip": (IMAGES, gzip.compress(idx(np.ones((12, 5, 4))))[:-9], "cannot be read"),
    "not gzip": (IMAGES, b"hello, this is no archive", "cannot be read"),
    "not idx": (LABELS, b"label,file\n1,a.png\n", "is not an IDX file"),
    "images as labels": (LABELS, idx(np.ones((12, 5, 4))), "is not an IDX file"),
    "empty": (LABELS, b"", "begins with nothing"),
    "no rows": (LABELS, idx(np.zeros(0)), "is empty"),
    "other length": (LABELS, idx(np.arange(11) % 3), "12 images but .* 11 labels"),
    "other size": (IMAGES, gzip.compress(idx(np.ones((12, 6, 4)))), "must be of one size"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_are_named(folder: Path, case: str) -> None:
    name, content, message = DAMAGE[case]
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        Idx(path=str(folder)).load()
    assert str(folder) in str(caught.value)


def test_a_missing_path_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set source\.path=DIR"):
        Idx().load()
    with pytest.raises(SourceError, match="is not a directory"):
        Idx(path=str(tmp_path / "nowhere")).load()


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.integers(0, 5000))
def test_proportional_sums_up_and_is_within_one(weights: list[int], total: int) -> None:
    parts = proportional(weights, total)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - weight * total / sum(weights)) < 1
