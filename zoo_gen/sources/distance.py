"""Exact signed distances to shapes: negative inside, positive outside, zero on the boundary.

A plane shape is a polygon or made of circles. A solid is a plane shape turned around an axis
(`revolved`) or drawn out along one (`extruded`); both keep distances exact (I. Quilez, *2D and 3D
distance functions*). All shapes are within the ball of radius 1 and touch its surface.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, hypot, pi, sin, sqrt

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Distance = Callable[[Array], Array]
"""Points ``[p, d]`` to signed distances ``[p]``."""


def circle(radius: float = 1.0, centre: tuple[float, ...] = (0.0, 0.0)) -> Distance:
    """Of a disc, or of a ball for a centre of three coordinates: |x - c| - r."""
    return lambda x: np.linalg.norm(x - np.array(centre), axis=-1) - radius


def ring(thickness: float) -> Distance:
    """Of the disc of radius 1 without a smaller one: ||x| - (1 - t/2)| - t/2."""
    half = thickness / 2
    return lambda x: np.abs(np.linalg.norm(x, axis=-1) - (1 - half)) - half


def polygon(corners: Array) -> Distance:
    """Of a polygon that does not cross itself.

    Args:
        corners: ``[k, 2]`` in order, either way around.
    """
    start, edge = corners, np.roll(corners, -1, 0) - corners

    def distance(x: Array) -> Array:
        away = x[:, None] - start
        along = (away * edge).sum(-1) / (edge * edge).sum(-1)
        gap = np.linalg.norm(away - np.clip(along, 0, 1)[..., None] * edge, axis=-1).min(-1)
        # even-odd rule: how many edges a ray to the right crosses
        above = start[:, 1] > x[:, None, 1]
        straddles = above != np.roll(above, -1, 1)
        side = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
        crossed = straddles & ((side > 0) == (edge[:, 1] > 0))
        inside = crossed.sum(-1) % 2 == 1
        return np.asarray(np.where(inside, -gap, gap), float)

    return distance


def revolved(profile: Distance) -> Distance:
    """Of the solid that a plane shape, its own mirror image or beyond the axis, sweeps around z.

    ``profile`` takes (distance from the axis, height).
    """
    return lambda x: profile(np.stack([np.hypot(x[:, 0], x[:, 1]), x[:, 2]], axis=-1))


def extruded(base: Distance, half_height: float) -> Distance:
    """Of the solid over a plane shape in x and y, from z = -h to h."""

    def distance(x: Array) -> Array:
        gap = np.stack([base(x[:, :2]), np.abs(x[:, 2]) - half_height], axis=-1)
        beyond = np.linalg.norm(np.maximum(gap, 0), axis=-1)
        return np.asarray(beyond + np.minimum(gap.max(-1), 0), float)

    return distance


def regular(corners: int, inner: float | None = None, radius: float = 1.0) -> Distance:
    """Of a regular polygon, or of a star with its inner corners at ``inner`` times the radius."""
    k = corners if inner is None else 2 * corners
    angle = np.arange(k) * 2 * pi / k
    length = radius * np.where(np.arange(k) % 2, 1.0 if inner is None else inner, 1.0)
    return polygon(np.stack([length * np.cos(angle), length * np.sin(angle)], -1))


def box(half_width: float, half_height: float) -> Distance:
    """Of a rectangle around 0."""
    w, h = half_width, half_height
    return polygon(np.array([[-w, -h], [w, -h], [w, h], [-w, h]]))


def cross(arm: float) -> Distance:
    """Of a cross, its four arms ``2 arm`` wide, its corners on the circle of radius 1."""
    a, b = arm, sqrt(1 - arm * arm)
    quarter = np.array([[b, -a], [b, a], [a, a]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = [quarter @ np.linalg.matrix_power(turn, k).T for k in range(4)]
    return polygon(np.concatenate(turned))


def cone(angle: float) -> Distance:
    """Of a cone whose tip and rim lie on the unit sphere, the rim at ``angle`` below the middle."""
    r, h = cos(angle), sin(angle)
    return revolved(polygon(np.array([[-r, -h], [r, -h], [0.0, 1.0]])))


# what a shape's class leaves open is drawn as u, uniform in [0, 1]
PLANE: dict[str, Callable[[float], Distance]] = {
    "circle": lambda u: circle(),
    "box": lambda u: box(cos(a := pi / 4 * (0.4 + 0.6 * u)), sin(a)),
    "triangle": lambda u: regular(3),
    "pentagon": lambda u: regular(5),
    "star": lambda u: regular(5, inner=0.35 + 0.15 * u),
    "ring": lambda u: ring(0.25 + 0.35 * u),
    "cross": lambda u: cross(0.2 + 0.15 * u),
}
SOLID: dict[str, Callable[[float], Distance]] = {
    "sphere": lambda u: circle(1.0, (0.0, 0.0, 0.0)),
    "box": lambda u: extruded(box(a := 0.4 + 0.2 * u, b := 0.55), sqrt(1 - hypot(a, b) ** 2)),
    "cylinder": lambda u: revolved(box(cos(a := pi / 4 * (0.6 + 0.8 * u)), sin(a))),
    "torus": lambda u: revolved(circle(t := 0.2 + 0.15 * u, (1 - t, 0.0))),
    "cone": lambda u: cone(pi / 8 + pi / 8 * u),
    "prism": lambda u: extruded(regular(3, radius=cos(a := pi / 8 + pi / 8 * u)), sin(a)),
}
