"""Closed surfaces of triangles, a folder for each class: the one door to trimesh (optional)."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as described
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError, SourceError
from zoo_gen.sources.base import Signals, Source, at_least, existing, function_signals, grid
from zoo_gen.sources.folder import split_files
from zoo_gen.sources.shapes import EDGE, Field

ENDINGS = {".obj", ".off", ".ply", ".stl", ".glb"}
WHAT = "the directory that holds a folder of meshes for each class"


@dataclass(frozen=True)
class Meshes(Source):
    """Meshes in a folder for each class, below ``train/`` and ``test/`` or not, as `Folder`.

    Each is moved and scaled so that the ball around the middle of its bounding box that holds it
    has the radius 0.95. Needs trimesh: ``pip install 'dwszoo[meshes]'``.

    Attributes:
        path: the directory.
        field: ``"sdf"``, the signed distance (negative inside), float32; or ``"occupancy"``.
        size: points along each of the three axes.
    """

    kind: Literal["meshes"] = "meshes"
    path: str = described(default="", metadata={"hash": False})
    field: Field = "sdf"
    size: int = 16

    def __post_init__(self) -> None:
        at_least("size", self.size, 2)

    def load(self) -> Signals:
        """Signals are the meshes by part, class and name, ``train/`` first."""
        files, parts = split_files(existing(self.path, WHAT), ENDINGS, "mesh")
        x = grid(self.size, self.size, self.size)
        inside = self.field == "occupancy"
        values = np.empty((len(files), len(x), 1), np.uint8 if inside else np.float32)
        for i, (file, _) in enumerate(files):
            distance = signed_distance(file, x)
            values[i, :, 0] = 255 * (distance < 0) if inside else distance
        labels = np.array([label for _, label in files], np.int64)
        return function_signals(
            x, values, {"label": labels}, unit_range=inside, part=np.array(parts)
        )


def signed_distance(file: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Distance ``[p]`` of points ``[p, 3]`` to the surface in a file, scaled; negative inside.

    Raises:
        ConfigError: trimesh is not installed.
        SourceError: the file cannot be read, or its surface is not closed.
    """
    try:
        import trimesh
        from trimesh.proximity import signed_distance as outside_negative
    except ImportError as error:
        raise ConfigError(
            f"source.kind: meshes needs packages that are not installed ({error}); "
            "pip install 'dwszoo[meshes]'"
        ) from error
    try:
        mesh: Any = trimesh.load(file, force="mesh")
    except Exception as error:  # its readers raise whatever the format makes them raise
        raise SourceError(f"{file} cannot be read as a mesh ({error}); copy it again") from error
    if len(mesh.faces) == 0 or not mesh.is_watertight:
        raise SourceError(
            f"{file} is not a closed surface, so that it has no inside ({len(mesh.faces)} "
            "triangles); close its holes or remove it"
        )
    mesh.apply_translation(-mesh.bounds.mean(0))
    mesh.apply_scale(EDGE / np.linalg.norm(mesh.vertices, axis=1).max())
    return -np.asarray(outside_negative(mesh, x.astype(float)))
