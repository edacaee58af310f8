"""Charts and pictures of the page of a zoo: what they show is what they were given."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from pipeline.views.charts import HEIGHT, WIDTH, curves, histogram, scatter
from pipeline.views.html import document
from pipeline.views.images import data_uri, distance_pixels, plain_pixels, signed_pixels
from pipeline.views.text_table import number, size
from pipeline.views.style import CSS

numbers = st.lists(st.floats(-1e12, 1e12) | st.floats(1e-9, 1e-3), min_size=1, max_size=30)


def marks(svg: str, name: str) -> list[dict[str, str]]:
    """Attributes of the elements of one kind; raises where the SVG is no XML."""
    return [dict(e.attrib) for e in ElementTree.fromstring(svg).iter() if e.tag == name]


def places(svg: str) -> Iterator[tuple[float, float]]:
    """Corners of bars, middles of dots and of letters."""
    for bar in marks(svg, "rect"):
        x, y, width, height = (float(bar[k]) for k in ("x", "y", "width", "height"))
        yield from ((x, y), (x + width, y + height))
    yield from ((float(m["cx"]), float(m["cy"])) for m in marks(svg, "circle"))
    yield from ((float(m["x"]), float(m["y"])) for m in marks(svg, "text"))


@given(numbers)
def test_any_numbers_stay_within_their_chart(values: list[float]) -> None:
    x = np.array(values)
    for svg in (histogram(x, "x"), scatter(x, x[::-1], ("x", "y"))):
        for across, down in places(svg):
            assert 0 <= across <= WIDTH
            assert 0 <= down <= HEIGHT


def test_a_bar_is_as_high_as_its_class_is_large() -> None:
    bars = marks(histogram(np.array([0.0, 0, 0, 2, 2, 1]), "label"), "rect")
    heights = [float(bar["height"]) for bar in bars]
    np.testing.assert_allclose(np.array(heights) / heights[1], [3, 1, 2], rtol=0.01)
    assert len({bar["width"] for bar in bars}) == 1


def test_rates_over_decades_are_on_a_logarithmic_axis() -> None:
    x = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    dots = [float(m["cx"]) for m in marks(scatter(x, np.arange(4.0), ("rate", "y")), "circle")]
    np.testing.assert_allclose(np.diff(dots), np.diff(dots)[0], atol=0.11)


def test_evenly_drawn_numbers_are_on_a_linear_axis_however_small_the_least() -> None:
    x = np.array([0.01, 2.5, 5.0, 7.5, 10.0])
    dots = [float(m["cx"]) for m in marks(scatter(x, np.arange(5.0), ("b", "y")), "circle")]
    np.testing.assert_allclose(np.diff(dots), np.diff(dots)[0], rtol=0.01)


def test_words_stand_side_by_side() -> None:
    words = np.array(["relu", "tanh"] * 10)
    dots = [float(m["cx"]) for m in marks(scatter(words, np.arange(20.0), ("f", "y")), "circle")]
    assert max(dots[0::2]) < min(dots[1::2])


def test_a_curve_has_a_gap_where_it_is_not_finite() -> None:
    y = np.array([0.5, 1.0, np.nan, np.inf, 0.75, 1.0, 0.5])
    lines = [
        m["points"].split() for m in marks(curves(np.arange(7.0), [(y, "a")], "c"), "polyline")
    ]
    assert [len(line) for line in lines] == [2, 3]
    assert lines[0][0].partition(",")[2] == lines[1][2].partition(",")[2]
    assert "nan" not in str(lines)


def test_a_curve_that_is_nowhere_finite_is_an_empty_chart() -> None:
    assert marks(curves(np.arange(3.0), [(np.full(3, np.nan), "a")], "c"), "polyline") == []


def test_signed_numbers_are_white_at_zero_and_as_strong_on_both_sides() -> None:
    values = np.array([[-2.0, -1, 0, 1, 2, np.nan]], np.float32)
    low, less, zero, more, high, unknown = signed_pixels(values, 1.0)[0].astype(int)
    assert zero.min() > 240
    assert less[2] > less[0]  # blue
    assert more[0] > more[2]  # red
    np.testing.assert_array_equal((low, high), (less, more))
    assert unknown.tolist() == [255, 0, 255]


def test_a_distance_has_one_dark_line_where_it_changes_its_sign() -> None:
    plane = np.broadcast_to(np.linspace(-1, 1, 8, dtype=np.float32), (8, 8))
    dark = (distance_pixels(plane, 1.0) < 40).all(-1)
    assert dark.shape == (96, 96)
    assert dark.any(0).nonzero()[0].tolist() == [47]
    assert dark[:, 47].all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_survives_the_page(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, channels))
    pixels = plain_pixels((values / 255).astype(np.float32))
    kind, _, data = data_uri(pixels).partition(",")
    assert kind == "data:image/png;base64"
    read = imread(io.BytesIO(base64.b64decode(data)))[..., :3]
    np.testing.assert_array_equal(np.rint(255 * read), np.broadcast_to(values, (5, 7, 3)))


def test_what_is_not_finite_is_magenta_and_what_is_beyond_is_cut() -> None:
    pixels = plain_pixels(np.array([[[np.nan], [-1.0], [2.0]]], np.float32))
    assert pixels[0].tolist() == [[255, 0, 255], [0, 0, 0], [255, 255, 255]]


def test_ten_models_are_told_apart_by_colour_or_dashes() -> None:
    dashed = re.search(r"^(.*) { stroke-dasharray", CSS, re.MULTILINE)
    assert dashed is not None
    looks = [
        (re.findall(rf"\.s{i}\b[^{{}}]*{{ --series: (#\w+)", CSS), f".s{i}" in dashed[1])
        for i in range(10)
    ]
    assert all(len(colours) == 2 for colours, _ in looks)  # by day and by night
    assert [look for k, look in enumerate(looks) if look in looks[:k]] == []


def test_a_page_tells_its_size_and_leaves_its_text_alone() -> None:
    wide = f"<pre>a{'':12}b</pre>"
    page = document("a name", "a title", "report", [wide])
    assert wide in page
    assert re.search(rf"holds +{re.escape(size(len(page.encode())))}\.</footer>", page)


def test_numbers_that_are_not_finite_are_told_as_such() -> None:
    assert [number(v) for v in (np.nan, np.inf, -np.inf)] == ["nan", "inf", "-inf"]
