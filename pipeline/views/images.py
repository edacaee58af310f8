"""Arrays as PNG inside a page: gray, colour, and signed numbers in two colours."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
SIGNED = "RdBu_r"
SMOOTH = 96  # pixels along the longer side of a distance, so that its zero level is a line
BAR = (6, 128)


def plain_pixels(values: Array) -> Pixels:
    """Gray ``[h, w, 1]`` or colour ``[h, w, 3]`` in [0, 1], cut to that, as ``[h, w, 3]``.

    What is not finite becomes magenta.
    """
    colour = np.broadcast_to(values, (*values.shape[:2], 3))
    out = np.rint(255 * np.clip(np.nan_to_num(colour), 0, 1)).astype(np.uint8)
    out[~np.isfinite(values).all(-1)] = (255, 0, 255)
    return out


def signed_pixels(values: Array, limit: float) -> Pixels:
    """Numbers ``[h, w]`` from -limit (blue) over 0 (white) to limit (red); magenta: not finite."""
    from matplotlib import colormaps

    scaled = np.nan_to_num(values / (2 * limit or 1.0)) + 0.5
    out: Pixels = colormaps[SIGNED](np.clip(scaled, 0, 1), bytes=True)[..., :3]
    out[~np.isfinite(values)] = (255, 0, 255)
    return out


def distance_pixels(values: Array, limit: float) -> Pixels:
    """Signed distances ``[h, w]``, interpolated, with a dark line where they change their sign."""
    import torch

    grid = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    scale = max(1, SMOOTH // max(values.shape))
    smooth = torch.nn.functional.interpolate(grid, scale_factor=scale, mode="bilinear")
    fine = smooth[0, 0].numpy()
    out = signed_pixels(fine, limit)
    inside = fine < 0
    edge = np.zeros_like(inside)
    for axis in (0, 1):
        change = np.diff(inside, axis=axis)
        edge |= np.pad(change, [(0, int(axis == 0)), (0, int(axis == 1))])
    out[edge] = (20, 20, 20)
    return out


def scale_bar() -> str:
    """The colours from -limit to limit, left to right, as a data URI."""
    height, width = BAR
    ramp = np.linspace(-1, 1, width, dtype=np.float32)
    return data_uri(signed_pixels(np.broadcast_to(ramp, (height, width)), 1.0))


def data_uri(pixels: Pixels) -> str:
    """A PNG as the text that stands in a page."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
