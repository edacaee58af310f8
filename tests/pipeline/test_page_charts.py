"""Charts and pictures of pages: what they show is what they were given."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from pipeline.views.charts import COLOURS, Chart, Line, curves, histogram, scatter
from pipeline.views.html import render
from pipeline.views.images import data_uri, distance_pixels, plain_pixels, signed_pixels
from pipeline.views.text_table import TextTable, number, size

numbers = st.lists(st.floats(-1e12, 1e12) | st.floats(1e-9, 1e-3), min_size=1, max_size=30)


def dots(chart: Chart) -> np.ndarray:
    """Positions of the dots of a scatter chart, ``[n, 2]``."""
    found = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" class="dot"', chart.svg)
    return np.array(found, float)


def corners(chart: Chart, colour: str) -> list[np.ndarray]:
    """Points of each path in a colour, ``[points, 2]``."""
    paths = [
        e.attrib["d"]
        for e in ElementTree.fromstring(chart.svg).iter("path")
        if f"var(--{colour})" in e.attrib.get("style", "")
    ]
    return [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", d), float) for d in paths]


@given(numbers)
@settings(max_examples=20)
def test_any_numbers_have_a_chart_in_the_colours_of_the_page(values: list[float]) -> None:
    x = np.array(values)
    for chart in (histogram(x, "x"), scatter(x, x[::-1], ("x", "y"))):
        ElementTree.fromstring(chart.svg)
        assert not any(colour in chart.svg for colour in COLOURS.values())


def test_a_bar_is_as_high_as_its_class_is_large() -> None:
    bars = corners(histogram(np.array([0.0, 0, 0, 2, 2, 1]), "label"), "mark")
    heights = np.array([np.ptp(bar[:, 1]) for bar in bars])
    np.testing.assert_allclose(heights / heights[1], [3, 1, 2], rtol=0.01)


@pytest.mark.parametrize(
    "x", [[1e-4, 1e-3, 1e-2, 1e-1], [0.01, 2.5, 5.0, 7.5, 10.0]], ids=["rates", "even"]
)
def test_an_axis_is_logarithmic_where_that_spreads_the_values(x: list[float]) -> None:
    gaps = np.diff(dots(scatter(np.array(x), np.arange(float(len(x))), ("x", "y")))[:, 0])
    np.testing.assert_allclose(gaps, gaps[0], rtol=0.01)


def test_words_stand_side_by_side() -> None:
    words = np.array(["relu", "tanh"] * 10)
    across = dots(scatter(words, np.arange(20.0), ("f", "y")))[:, 0]
    assert max(across[0::2]) < min(across[1::2])


def test_a_curve_has_a_gap_where_it_is_not_finite() -> None:
    y = np.array([0.5, 1.0, np.nan, np.inf, 0.75, 1.0, 0.5])
    chart = curves(np.arange(7.0), [Line(y)], "c")
    (path,) = re.findall(r'<path d="([^"]*)"[^>]*var\(--mark\)', chart.svg)
    assert [len(piece.split("L")) for piece in path.split("M")[1:]] == [2, 3]


def test_a_curve_that_is_nowhere_finite_is_an_empty_chart() -> None:
    chart = curves(np.arange(3.0), [Line(np.full(3, np.nan))], "c")
    assert "nan" not in chart.svg


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


def test_a_page_states_its_size_and_escapes_its_text() -> None:
    text = f"<pre>a{'':12}b</pre> (size of this page)"
    sheet = TextTable("trials", ["trial"], [[text]])
    values = {"lead": [], "pictures": [], "trials": sheet, "best": text, "config": ""}
    page = render("search.html", "tune", "a name", "a title", **values)
    assert page.count("&lt;pre&gt;a            b&lt;/pre&gt; (size of this page)") == 2
    assert re.search(rf"holds +{re.escape(size(len(page.encode())))}\.</footer>", page)


def test_numbers_that_are_not_finite_keep_their_names() -> None:
    assert [number(v) for v in (np.nan, np.inf, -np.inf)] == ["nan", "inf", "-inf"]
