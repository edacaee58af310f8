"""Meshes become distances to their surface; without trimesh one line says what to install."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from zoo_gen import ConfigError, Meshes, SourceError
from zoo_gen.sources.base import grid
from zoo_gen.sources.distance import box, extruded

CORNERS = np.array(list(product([-1, 1], repeat=3)))
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
HALF = np.array([0.3, 0.5, 0.6])


def obj(half: np.ndarray, shift: float = 0.0, faces: int = 6) -> str:
    """A box as a Wavefront OBJ file, its faces turned outwards."""
    lines = [f"v {x} {y} {z}" for x, y, z in CORNERS * half + shift]
    for a, b, c, d in QUADS[:faces]:
        lines += [f"f {a + 1} {b + 1} {c + 1}", f"f {a + 1} {c + 1} {d + 1}"]
    return "\n".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three boxes of two classes, one of them moved and ten times as large."""
    boxes = {"long/a.obj": obj(HALF), "long/b.obj": obj(10 * HALF, 7.0), "cube/a.obj": obj(HALF**0)}
    for name, text in boxes.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_without_trimesh_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ConfigError, match=r"source.kind: meshes needs .*pip install 'dwszoo\[mes"):
        Meshes(path=str(folder)).load()


def load(folder: Path, **options: object) -> object:
    pytest.importorskip("trimesh", reason="trimesh is not installed (pip install 'dwszoo[meshes]')")
    pytest.importorskip("rtree", reason="rtree is not installed (pip install 'dwszoo[meshes]')")
    return Meshes(path=str(folder), size=9, **options).load()


def test_a_box_has_the_distances_of_a_box(folder: Path) -> None:
    signals = load(folder)
    half = HALF * 0.95 / np.linalg.norm(HALF)
    expected = extruded(box(half[0], half[1]), half[2])(grid(9, 9, 9).astype(float))
    assert signals.columns["label"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(signals.values[1, :, 0], expected, atol=1e-6)


def test_place_and_size_of_a_mesh_do_not_matter(folder: Path) -> None:
    values = load(folder).values
    np.testing.assert_allclose(values[1], values[2], atol=1e-6)


def test_occupancy_is_where_the_distance_is_negative(folder: Path) -> None:
    sdf, inside = load(folder), load(folder, field="occupancy")
    np.testing.assert_array_equal(inside.values == 255, sdf.values < 0)


DAMAGE: dict[str, tuple[Callable[[], str], str]] = {
    "no mesh": (lambda: "hello", "a.obj"),
    "a hole": (lambda: obj(HALF, faces=5), r"a.obj is not a closed surface.*10 triangles"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_without_an_inside_is_named(folder: Path, case: str) -> None:
    content, message = DAMAGE[case]
    (folder / "cube" / "a.obj").write_text(content())
    with pytest.raises(SourceError, match=message):
        load(folder)
