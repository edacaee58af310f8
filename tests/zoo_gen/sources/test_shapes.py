"""Signed distances are exact, and shapes lie where they should."""

from __future__ import annotations

from math import cos, pi, sin, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoo_gen import ConfigError, Shapes
from zoo_gen.sources.distance import (
    PLANE,
    SOLID,
    Distance,
    box,
    cone,
    cross,
    polygon,
    regular,
    ring,
)
from zoo_gen.sources.shapes import rotation

ALL = {f"{name} {d}d": (make, d) for d, of in ((2, PLANE), (3, SOLID)) for name, make in of.items()}
EVERY = pytest.mark.parametrize("shape", ALL)


def made(shape: str, u: float) -> tuple[Distance, int]:
    make, d = ALL[shape]
    return make(u), d


def slope(distance: Distance, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient by central differences."""
    steps = step * np.eye(x.shape[1])
    return np.stack([(distance(x + e) - distance(x - e)) / (2 * step) for e in steps], -1)


def slow_polygon(corners: np.ndarray, x: np.ndarray, samples: int = 4000) -> np.ndarray:
    """The nearest of many boundary points; inside is where the corners turn around."""
    share = np.arange(samples)[:, None, None] / samples
    boundary = (corners + share * (np.roll(corners, -1, 0) - corners)).reshape(-1, 2)
    told = np.empty(len(x))
    for i, point in enumerate(x):
        gap = np.linalg.norm(boundary - point, axis=-1).min()
        seen = corners - point
        angle = np.arctan2(seen[:, 1], seen[:, 0])
        turned = (np.roll(angle, -1) - angle + pi) % (2 * pi) - pi
        told[i] = -gap if abs(turned.sum()) > pi else gap
    return told


@hypothesis_settings(max_examples=25)
@given(st.integers(3, 9), st.integers(0, 10_000), st.booleans())
def test_a_polygon_equals_the_nearest_of_many_points(k: int, seed: int, backwards: bool) -> None:
    rng = np.random.default_rng(seed)
    angle = (np.arange(k) + rng.uniform(0, 0.9, k)) * 2 * pi / k
    corners = rng.uniform(0.2, 1, (k, 1)) * np.stack([np.cos(angle), np.sin(angle)], -1)
    x = rng.uniform(-1.2, 1.2, (40, 2))
    told = polygon(corners[::-1] if backwards else corners)(x)
    np.testing.assert_allclose(told, slow_polygon(corners, x), atol=1e-3)


@EVERY
@hypothesis_settings(max_examples=10)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_nearest_boundary_is_as_far_as_told(shape: str, u: float, seed: int) -> None:
    """A distance is exact if it never grows faster than one walks, and one gets there in time."""
    distance, d = made(shape, u)
    x = np.random.default_rng(seed).uniform(-1.5, 1.5, (200, d))
    told, gradient = distance(x), slope(distance, x)
    steep = np.linalg.norm(gradient, axis=-1)
    assert steep.max() < 1 + 1e-6
    smooth = steep > 1 - 1e-6  # not on a ridge, from which several points are nearest
    assert smooth.mean() > 0.9
    arrived = distance(x - told[:, None] * gradient)
    assert np.abs(arrived[smooth]).max() < 1e-5


@EVERY
def test_distances_grow_no_faster_than_one_walks(shape: str) -> None:
    distance, d = made(shape, 0.5)
    a, b = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 3000, d))
    assert (np.abs(distance(a) - distance(b)) <= np.linalg.norm(a - b, axis=-1) + 1e-9).all()


@EVERY
@pytest.mark.parametrize("u", [0.0, 0.5, 1.0])
def test_shapes_touch_the_unit_sphere_from_within(shape: str, u: float) -> None:
    distance, d = made(shape, u)
    x = np.random.default_rng(0).standard_normal((200_000, d))
    on_sphere = distance(x / np.linalg.norm(x, axis=-1, keepdims=True))
    assert -1e-9 < on_sphere.min() < 0.02


AREA = {
    "box": (box(0.6, 0.3), 4 * 0.6 * 0.3),
    "triangle": (regular(3), 3 * sqrt(3) / 4),
    "pentagon": (regular(5), 5 / 2 * sin(2 * pi / 5)),
    "star": (regular(5, inner=0.4), 5 * 0.4 * sin(pi / 5)),
    "ring": (ring(0.3), pi * (1 - 0.49)),
    "cross": (cross(0.25), 4 * 0.5 * (sqrt(1 - 0.0625) - 0.25) + 0.25),
}


@pytest.mark.parametrize("shape", AREA)
def test_what_is_inside_has_the_area_of_the_shape(shape: str) -> None:
    distance, area = AREA[shape]
    axis = np.linspace(-1, 1, 401)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    assert (distance(x) < 0).mean() * 2.005**2 == pytest.approx(area, rel=0.02)


VOLUME = {
    "sphere": 4 / 3 * pi,
    "box": 8 * 0.5 * 0.55 * sqrt(1 - 0.25 - 0.3025),
    "cylinder": 2 * pi * cos(pi / 4) ** 2 * sin(pi / 4),
    "torus": 2 * pi**2 * (1 - 0.275) * 0.275**2,
    "cone": pi / 3 * cos(3 * pi / 16) ** 2 * (1 + sin(3 * pi / 16)),
    "prism": 3 * sqrt(3) / 4 * cos(3 * pi / 16) ** 2 * 2 * sin(3 * pi / 16),
}


@pytest.mark.parametrize("shape", VOLUME)
def test_what_is_inside_has_the_volume_of_the_solid(shape: str) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (200_000, 3))
    assert (SOLID[shape](0.5)(x) < 0).mean() * 8 == pytest.approx(VOLUME[shape], rel=0.03)


def test_a_cone_stands_on_its_rim() -> None:
    assert cone(pi / 6)(np.array([[0, 0, 1.0], [0, 0, -0.5], [cos(pi / 6), 0, -0.5]])) == (
        pytest.approx(0, abs=1e-12)
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_rotation_turns_and_does_not_mirror(dimensions: int) -> None:
    for seed in range(20):
        turn = rotation(dimensions, np.random.default_rng(seed))
        np.testing.assert_allclose(turn @ turn.T, np.eye(dimensions), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_shape_lies_within_the_grid(dimensions: int) -> None:
    signals = Shapes(dimensions=dimensions, size=17, count=70).load()
    rim = np.abs(signals.coordinates).max(-1) == 1
    values = signals.targets(np.arange(70))[..., 0]
    assert (values[:, rim] > 0.049).all()
    assert (values.min(-1) < 0).all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_occupancy_is_where_the_distance_is_negative(dimensions: int) -> None:
    sdf, inside = (
        Shapes(dimensions=dimensions, size=9, count=14, field=field).load()
        for field in ("sdf", "occupancy")
    )
    rows = np.arange(14)
    np.testing.assert_array_equal(inside.targets(rows), sdf.targets(rows) < 0)
    assert (sdf.unit_range, inside.unit_range) == (False, True)
    assert (sdf.values.dtype, inside.values.dtype) == (np.float32, np.uint8)


def test_the_scale_is_the_radius_of_a_circle() -> None:
    signals = Shapes(kinds=("circle",), size=65, count=10, scale=(0.2, 0.8)).load()
    area = (signals.values[..., 0] < 0).mean(-1) * (65 * 2 / 64) ** 2
    np.testing.assert_allclose(area, pi * signals.columns["scale"] ** 2, rtol=0.05)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_distances_are_in_the_units_of_the_grid(dimensions: int) -> None:
    signals = Shapes(dimensions=dimensions, size=21, count=42).load()
    values = signals.values.reshape(42, *[21] * dimensions)
    steps = [np.abs(np.diff(values, axis=k)).reshape(42, -1).max(1) / 0.1 for k in (1, 2)]
    assert np.max(steps) <= 1 + 1e-5
    assert np.min(steps) > 0.8


def test_labels_are_the_kinds_in_turn() -> None:
    signals = Shapes(kinds=("star", "circle"), size=3, count=5).load()
    assert signals.columns["label"].tolist() == [0, 1, 0, 1, 0]


def test_the_first_shapes_are_the_same_whatever_the_count() -> None:
    few, many = (Shapes(size=5, count=n).load() for n in (7, 20))
    np.testing.assert_array_equal(few.values, many.values[:7])


def test_plane_shapes_are_images_and_solids_are_not() -> None:
    assert Shapes(size=5, count=1).load().shape == (5, 5)
    assert Shapes(size=5, count=1, dimensions=3).load().shape is None


WRONG = {
    r"kinds: got \['cone'\], expected different ones of circle": {"kinds": ("cone",)},
    "kinds: got .'box', 'box'., expected different": {"kinds": ("box", "box")},
    "scale: got .0.5, 0.4., expected": {"scale": (0.5, 0.4)},
    "scale: got .0.5, 1., expected .* up to 0.95": {"scale": (0.5, 1)},
    "size: got 1, expected 2": {"size": 1},
    "count: got 0, expected 1": {"count": 0},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_are_told_by_their_key(message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Shapes(**WRONG[message])
