"""Shapes in the plane and in space, as signed distances or as what is inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo_gen.errors import ConfigError
from zoo_gen.sources.base import Column, Signals, Source, at_least, function_signals, grid
from zoo_gen.sources.distance import PLANE, SOLID, Array

EDGE = 0.95  # shapes keep this far from the middle at most: within the grid
Field = Literal["sdf", "occupancy"]


@dataclass(frozen=True)
class Shapes(Source):
    """Shapes of random place, size and turn on a grid over [-1, 1]^d; ``label`` is their kind.

    Columns are ``label``, the index in ``kinds`` (which take turns, so that classes are of one
    size), and ``scale``, the radius of the smallest ball around the shape's own middle that holds
    it. The first signals are the same whatever the count.

    Attributes:
        dimensions: 2 or 3.
        field: ``"sdf"``, the exact signed distance (negative inside), float32; or
            ``"occupancy"``, 1 inside and 0 outside.
        kinds: of the shapes; none for all: circle, box, triangle, pentagon, star, ring, cross in
            the plane; sphere, box, cylinder, torus, cone, prism in space.
        size: points along each axis; size^d in all, of 4 bytes each (1 for occupancy) and signal.
        scale: [low, high] that each shape's is drawn from, uniformly.
        count: signals.
        seed: of the draws.
    """

    kind: Literal["shapes"] = "shapes"
    dimensions: Literal[2, 3] = 2
    field: Field = "sdf"
    kinds: tuple[str, ...] = ()
    size: int = 32
    scale: tuple[float, float] = (0.35, 0.7)
    count: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        known = PLANE if self.dimensions == 2 else SOLID
        strangers = [k for k in self.kinds if k not in known]
        if strangers or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(
                f"kinds: got {list(self.kinds)}, expected different ones of {', '.join(known)} "
                f"(dimensions: {self.dimensions})"
            )
        if not 0 < self.scale[0] <= self.scale[1] <= EDGE:
            raise ConfigError(
                f"scale: got {list(self.scale)}, expected [low, high] above 0 and up to {EDGE}"
            )
        at_least("size", self.size, 2)
        at_least("count", self.count, 1)
        at_least("seed", self.seed, 0)

    def load(self) -> Signals:
        """The signals."""
        d = self.dimensions
        known = PLANE if d == 2 else SOLID
        kinds = self.kinds or tuple(known)
        x = grid(*[self.size] * d)
        inside = self.field == "occupancy"
        values = np.empty((self.count, len(x), 1), np.uint8 if inside else np.float32)
        scales = np.empty(self.count, np.float32)
        for i in range(self.count):
            rng = np.random.default_rng([self.seed, i])
            shape = known[kinds[i % len(kinds)]](rng.random())
            scale = rng.uniform(*self.scale)
            centre = rng.uniform(scale - EDGE, EDGE - scale, d)
            distance = scale * shape((x.astype(float) - centre) @ rotation(d, rng) / scale)
            values[i, :, 0] = 255 * (distance < 0) if inside else distance
            scales[i] = scale
        columns: dict[str, Column] = {"label": np.arange(self.count) % len(kinds), "scale": scales}
        shape_of_image = (self.size, self.size) if d == 2 else None
        return function_signals(x, values, columns, shape_of_image, unit_range=inside)


def rotation(dimensions: int, rng: np.random.Generator) -> Array:
    """A rotation matrix, uniform over all rotations (QR of a Gaussian matrix, signs fixed)."""
    q, r = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return np.asarray(q, np.float64)
