"""Pictures become arrays as they are, and are framed as told."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo_gen import ConfigError, SourceError
from zoo_gen.sources.pictures import Framing, Stack, decode

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GRAY = COLOUR[..., 0]


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The bytes of a picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def palette() -> Image.Image:
    """Four colours by number."""
    image = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7) % 4, "P")
    image.putpalette([1, 2, 3, 50, 60, 70, 0, 0, 0, 255, 255, 255])
    return image


PALETTE = np.array([[1, 2, 3], [50, 60, 70], [0, 0, 0], [255, 255, 255]], np.uint8)
OPAQUE = np.concatenate([COLOUR, np.full((5, 7, 1), 255, np.uint8)], -1)
UPRIGHT = Image.Exif()
UPRIGHT[0x0112] = 6  # the camera was turned: a quarter clockwise makes it upright
LOSSLESS = {
    "gray png": (encoded(Image.fromarray(GRAY)), GRAY[..., None]),
    "colour png": (encoded(Image.fromarray(COLOUR)), COLOUR),
    "bmp": (encoded(Image.fromarray(COLOUR), "BMP"), COLOUR),
    "lossless webp": (encoded(Image.fromarray(COLOUR), "WEBP", lossless=True), COLOUR),
    "black and white": (
        encoded(Image.fromarray(GRAY > 127)),
        (255 * (GRAY > 127)).astype(np.uint8)[..., None],
    ),
    "palette": (encoded(palette()), PALETTE[np.arange(35).reshape(5, 7) % 4]),
    "opaque alpha": (encoded(Image.fromarray(OPAQUE)), COLOUR),
    "turned": (encoded(Image.fromarray(COLOUR), exif=UPRIGHT), np.rot90(COLOUR, -1)),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_a_lossless_picture_is_its_pixels(case: str) -> None:
    data, expected = LOSSLESS[case]
    np.testing.assert_array_equal(decode(data, case), expected)


SEE_THROUGH = OPAQUE.copy()
SEE_THROUGH[2, 3, 3] = 254
REFUSED = {
    "nothing": (b"", "is no picture of a known format"),
    "text": (b"label,file", "is no picture of a known format"),
    "cut off": (LOSSLESS["colour png"][0][:-40], "cannot be read as a picture"),
    "16 bits": (
        encoded(Image.fromarray(GRAY.astype(np.uint16) * 256)),
        r"more than 8 bits per pixel \(mode I;16\); convert it",
    ),
    "see-through": (encoded(Image.fromarray(SEE_THROUGH)), "see-through in places; paint it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_picture_is_refused_by_name(case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(SourceError, match=f"^some/file.png .*{message}"):
        decode(data, "some/file.png")


@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(["colour png", "bmp", "palette", "lossless webp", "jpeg"]))
    whole = encoded(Image.fromarray(COLOUR), "JPEG") if case == "jpeg" else LOSSLESS[case][0]
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(broken), "the/file")
    except SourceError as error:
        assert str(error).startswith("the/file ")  # noqa: PT017
    else:
        assert pixels.ndim == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_no_framing_changes_nothing(dtype: type) -> None:
    pixels = COLOUR.astype(dtype)
    assert Framing()(pixels, "a") is pixels


def test_a_crop_is_the_middle() -> None:
    np.testing.assert_array_equal(Framing(crop=(3, 4))(COLOUR, "a"), COLOUR[1:4, 1:5])


def test_gray_is_pillows() -> None:
    theirs = np.asarray(Image.fromarray(COLOUR).convert("L"), int)
    ours = Framing(gray=True)(COLOUR, "a")
    assert ours.dtype == np.uint8
    assert np.abs(ours[..., 0].astype(int) - theirs).max() <= 1


def test_gray_is_the_nearest_whole_number() -> None:
    exact = COLOUR.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(Framing(gray=True)(COLOUR, "a")[..., 0] - exact).max() < 0.501


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resizing_keeps_a_plain_picture_plain(dtype: type) -> None:
    plain = np.full((5, 7, 3), 1 if dtype is np.float32 else 200, dtype)
    resized = Framing(resize=(3, 9))(plain, "a")
    assert resized.shape == (3, 9, 3)
    assert resized.dtype == dtype
    assert (resized == plain[0, 0, 0]).all()


def test_shrinking_averages_over_all_pixels() -> None:
    board = np.indices((32, 32)).sum(0) % 2 * np.uint8(255)
    shrunk = Framing(resize=(4, 4))(board.astype(np.uint8)[..., None], "a")
    assert np.abs(shrunk.astype(int) - 127).max() <= 8


def test_the_crop_is_cut_before_the_resizing() -> None:
    pixels = np.zeros((8, 4, 1), np.uint8)
    pixels[2:6] = 255
    assert (Framing(crop=(4, 4), resize=(2, 2))(pixels, "a") == 255).all()


@pytest.mark.parametrize("key", ["crop", "resize"])
def test_an_empty_size_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: got \[0, 3\], expected"):
        Framing(**{key: (0, 3)})


STRANGERS = {
    "size": (COLOUR[:4], r"b.png is 4x7 .* the first, a.png, is 5x7; --set source.resize=\[5, 7\]"),
    "colours": (COLOUR[..., :1], r"b.png is gray, but the first, a.png, is RGB; --set source.gray"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_picture_unlike_the_first_is_named_with_what_mends_it(case: str) -> None:
    pixels, message = STRANGERS[case]
    stack = Stack(2, Framing())
    stack.add(COLOUR, "a.png")
    with pytest.raises(SourceError, match=message):
        stack.add(pixels, "b.png")


def test_what_is_told_to_mend_it_does() -> None:
    stack = Stack(3, Framing(gray=True, resize=(5, 7)))
    for pixels in (COLOUR, COLOUR[:4], COLOUR[..., :1]):
        stack.add(pixels, "a")
    assert stack.images().shape == (3, 5, 7)


def test_a_picture_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(SourceError, match=r"a.png is 5x7 .* smaller than source.crop=\[6, 2\]"):
        Framing(crop=(6, 2))(COLOUR, "a.png")
