"""Folders, Parquet files and NumPy arrays of one set of images give the same signals."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoo_gen import ConfigError, Folder, NumpyArrays, Parquet, Signals, SourceError
from zoo_gen.sources.images import images_with_labels

RNG = np.random.default_rng(1)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2])
GRAY = RNG.integers(0, 256, (11, 4, 6), np.uint8)
COLOUR = RNG.integers(0, 256, (11, 4, 6, 3), np.uint8)
TRAIN = 7  # of the images; the others are the test part
CLASSES = ["ant", "bee", "cat"]
PARTS = {"train": slice(0, TRAIN), "test": slice(TRAIN, None)}


def png(pixels: np.ndarray) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(place: Path, images: np.ndarray, labels: np.ndarray, names=CLASSES) -> None:
    """A folder for each class."""
    for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        folder = place / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}.png").write_bytes(png(pixels))


def table(images: np.ndarray, labels: np.ndarray, image: str = "img") -> pa.Table:
    """Images as on the Hugging Face hub."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": png(pixels), "path": f"{i}.png"} for i, pixels in enumerate(images)]
    return pa.table({image: pa.array(rows, kind), "label": pa.array(labels.tolist(), pa.int64())})


def as_folder(place: Path, images: np.ndarray, parts: bool) -> Folder:
    for part, rows in PARTS.items() if parts else {"": slice(None)}.items():
        write_folder(place / part, images[rows], LABELS[rows])
    return Folder(path=str(place))


def as_parquet(place: Path, images: np.ndarray, parts: bool) -> Parquet:
    if not parts:
        pq.write_table(table(images, LABELS, "image"), place / "all.parquet", row_group_size=4)
        return Parquet(path=str(place / "all.parquet"))
    pq.write_table(table(images[:4], LABELS[:4]), place / "train-00000-of-00002.parquet")
    pq.write_table(table(images[4:TRAIN], LABELS[4:TRAIN]), place / "train-00001-of-00002.parquet")
    pq.write_table(table(images[TRAIN:], LABELS[TRAIN:]), place / "test.parquet", row_group_size=1)
    return Parquet(path=str(place))


def as_npz(place: Path, images: np.ndarray, parts: bool) -> NumpyArrays:
    arrays = {"classes": np.array(CLASSES, object)}  # not ours, and never unpickled
    for part, rows in PARTS.items() if parts else {"": slice(None)}.items():
        prefix = f"{part}_" if part else ""
        arrays |= {f"{prefix}images": images[rows], f"{prefix}labels": LABELS[rows]}
    np.savez(place / "data.npz", **arrays)
    return NumpyArrays(path=str(place / "data.npz"))


def as_npy(place: Path, images: np.ndarray, parts: bool) -> NumpyArrays:
    as_npz(place, images, parts)
    for name, array in np.load(place / "data.npz", allow_pickle=True).items():
        if name != "classes":
            np.save(place / f"{name}.npy", array)
    return NumpyArrays(path=str(place))


WRITERS: dict[str, Callable[..., Folder | Parquet | NumpyArrays]] = {
    "folder": as_folder,
    "parquet": as_parquet,
    "npz": as_npz,
    "npy": as_npy,
}


@pytest.mark.parametrize("parts", [False, True], ids=["one", "train-test"])
@pytest.mark.parametrize("images", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("writer", WRITERS)
def test_signals_are_the_images(
    tmp_path: Path, writer: str, images: np.ndarray, parts: bool
) -> None:
    signals = WRITERS[writer](tmp_path, images, parts).load()
    expected = images.reshape(11, 24, -1).astype(np.float32) / 255
    np.testing.assert_array_equal(signals.targets(np.arange(11)), expected)
    assert signals.columns["label"].tolist() == LABELS.tolist()
    assert signals.part.tolist() == (["train"] * 7 + ["test"] * 4 if parts else [""] * 11)
    assert (signals.shape, signals.unit_range) == ((4, 6), True)


def test_the_fingerprint_is_of_the_images_and_not_of_their_files(tmp_path: Path) -> None:
    prints = set()
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        prints.add(write(tmp_path / name, COLOUR, True).load().fingerprint)
    assert len(prints) == 1


def test_every_pixel_label_and_part_is_in_the_fingerprint() -> None:
    part = np.array(["train"] * TRAIN + ["test"] * (11 - TRAIN))
    pixel, label, other = COLOUR.copy(), LABELS.copy(), part.copy()
    pixel[3, 2, 1, 0] ^= 1
    label[3], other[3] = 2, "test"
    cases = [(COLOUR, LABELS, part), (pixel, LABELS, part), (COLOUR, label, part)]
    cases += [(COLOUR, LABELS, other), (COLOUR.astype(np.float32), LABELS, part)]
    assert len({images_with_labels(*case).fingerprint for case in cases}) == len(cases)


def test_options_reach_the_pictures_of_every_source(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        source = write(tmp_path / name, COLOUR, False)
        options = {"gray": True, "crop": (2, 4), "resize": (3, 5)}
        signals = type(source)(path=source.path, **options).load()
        assert (signals.shape, signals.values.shape[2]) == ((3, 5), 1), name


@pytest.mark.parametrize("source", [Folder, Parquet, NumpyArrays])
def test_a_missing_path_says_how_to_give_one(source: type, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.path: missing; .* --set source\.path="):
        source().load()
    with pytest.raises(SourceError, match=r"source.path: .*nowhere (does not|is not)"):
        source(path=str(tmp_path / "nowhere")).load()


def test_float_images_are_kept_as_they_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 3, 3))
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(5))
    signals = NumpyArrays(path=str(tmp_path / "a.npz")).load()
    np.testing.assert_array_equal(
        signals.targets(np.arange(5)), images.reshape(5, 9, 1).astype(np.float32)
    )


def test_classes_with_numbers_for_names_are_in_their_order(tmp_path: Path) -> None:
    write_folder(tmp_path, GRAY, LABELS, ["2", "9", "10"])
    assert Folder(path=str(tmp_path)).load().columns["label"].tolist() == LABELS.tolist()


def test_a_training_folder_alone_is_divided_by_shares(tmp_path: Path) -> None:
    pq.write_table(table(GRAY, LABELS), tmp_path / "train.parquet")
    assert set(Parquet(path=str(tmp_path)).load().part) == {""}


def test_real_cifar10(cifar10: Path) -> None:
    signals: Signals = Parquet(path=str(cifar10 / "test.parquet")).load()
    assert (signals.shape, signals.values.shape) == ((32, 32), (10_000, 1024, 3))
    assert np.bincount(signals.columns["label"]).tolist() == [1000] * 10


def break_folder(place: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """Name -> (what is done to the folder, what is told)."""
    ant, test = place / "train" / "ant", place / "test"
    return {
        "text": (lambda: (ant / "000.png").write_text("a"), "000.png is no picture"),
        "size": (lambda: (ant / "x.png").write_bytes(png(GRAY[0, 1:])), r"x.png is 3x6 .*resize"),
        "mode": (lambda: (ant / "x.png").write_bytes(png(COLOUR[0])), r"x.png is RGB.*gray=true"),
        "empty class": (lambda: (place / "train" / "dog").mkdir(), "dog is an empty class"),
        "other files": (
            lambda: [f.rename(f.with_suffix(".txt")) for f in list(ant.iterdir())],
            "ant is an empty class",
        ),
        "class of test": (lambda: write_folder(test, GRAY[:1], [0], ["x"]), "has not: x; .* ant"),
        "val": (lambda: (place / "val").mkdir(), "has val beside train and test"),
    }


@pytest.mark.parametrize("case", break_folder(Path()))
def test_a_bad_folder_is_told_by_name(tmp_path: Path, case: str) -> None:
    source = as_folder(tmp_path, GRAY, True)
    do, message = break_folder(tmp_path)[case]
    do()
    with pytest.raises(SourceError, match=message) as caught:
        source.load()
    assert str(tmp_path) in str(caught.value)


def test_a_folder_of_pictures_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(GRAY[0]))
    with pytest.raises(SourceError, match="has no folders; expected one for each class"):
        Folder(path=str(tmp_path)).load()


WHOLE = table(GRAY, LABELS)
NO_BYTES = pa.array([{"bytes": None, "path": "a.png"}] * 11, WHOLE.schema.field("img").type)
NO_COLUMN = r"no column 'img' or 'image' of type struct.*; it has .*label: int64"
BAD_TABLES = {
    "no image": (WHOLE.rename_columns(["picture", "label"]), NO_COLUMN),
    "image of paths": (WHOLE.set_column(0, "img", pa.array(["a.png"] * 11)), NO_COLUMN),
    "no label": (
        WHOLE.rename_columns(["img", "fine"]),
        "no column 'label' .* it has .*fine: int64",
    ),
    "label text": (
        WHOLE.set_column(1, "label", pa.array(["a"] * 11)),
        "no column 'label' of whole",
    ),
    "no bytes": (WHOLE.set_column(0, "img", NO_BYTES), "row 0 has no picture in img.bytes"),
    "null": (WHOLE.set_column(1, "label", pa.array([1, None] + [1] * 9)), "row 1 has label None"),
    "-1": (WHOLE.set_column(1, "label", pa.array([1, 1, -1] + [1] * 8)), "row 2 has label -1"),
    "no rows": (WHOLE.slice(0, 0), "its files have no rows"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_tells_what_it_has(tmp_path: Path, case: str) -> None:
    content, message = BAD_TABLES[case]
    pq.write_table(content, tmp_path / "train.parquet")
    with pytest.raises(SourceError, match=message):
        Parquet(path=str(tmp_path)).load()


def test_another_label_column_can_be_chosen(tmp_path: Path) -> None:
    pq.write_table(WHOLE.rename_columns(["img", "fine"]), tmp_path / "a.parquet")
    signals = Parquet(path=str(tmp_path), label="fine").load()
    assert signals.columns["label"].tolist() == LABELS.tolist()


def test_bad_parquet_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no \*.parquet files"):
        Parquet(path=str(tmp_path)).load()
    as_parquet(tmp_path, GRAY, True)
    pq.write_table(WHOLE, tmp_path / "validation.parquet")
    with pytest.raises(SourceError, match=r"validation.parquet is neither train"):
        Parquet(path=str(tmp_path)).load()
    (tmp_path / "validation.parquet").rename(tmp_path / "test-2.parquet")
    (tmp_path / "test-2.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"test-2.parquet is not a readable Parquet"):
        Parquet(path=str(tmp_path)).load()


BAD_ARRAYS = {
    "no images": ({"pixels": GRAY}, "has no array 'images' .* it has pixels"),
    "no labels": ({"images": GRAY}, "has images but no labels; it has images"),
    "fewer labels": ({"images": GRAY, "labels": LABELS[1:]}, "11 images but labels has 10 labels"),
    "float labels": ({"images": GRAY, "labels": LABELS / 2}, r"labels is float64 of shape \[11\]"),
    "negative": ({"images": GRAY, "labels": LABELS - 1}, "expected a whole number from 0 on"),
    "shape": ({"images": GRAY[0], "labels": LABELS}, r"the shape \[4, 6\], expected \[n, height"),
    "none": ({"images": GRAY[:0], "labels": LABELS[:0]}, "at least one image"),
    "channels first": ({"images": COLOUR.transpose(0, 3, 1, 2), "labels": LABELS}, "expected .n,"),
    "range": ({"images": GRAY / 1.0, "labels": LABELS}, "from 0 to 25., expected 0 to 1"),
    "nan": ({"images": GRAY * np.nan, "labels": LABELS}, "from nan to nan"),
    "int": ({"images": GRAY.astype(int), "labels": LABELS}, "of type int64, expected uint8 or"),
    "objects": ({"images": np.array([[None]]), "labels": LABELS}, "cannot be read as NumPy arrays"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_told_by_name(tmp_path: Path, case: str) -> None:
    arrays, message = BAD_ARRAYS[case]
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(SourceError, match=message) as caught:
        NumpyArrays(path=str(tmp_path / "data.npz")).load()
    assert "data.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_files_that_are_no_arrays_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"data.npz cannot be read as NumPy arrays"):
        NumpyArrays(path=str(tmp_path / "data.npz")).load()
