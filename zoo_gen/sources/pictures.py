"""Encoded pictures to arrays of one size and one number of colours: the one door to Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import ConfigError, SourceError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's and most tools'
COLOURS = {1: "gray", 3: "RGB"}

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Framing:
    """What is done to every picture of a source, in this order.

    Attributes:
        crop: (height, width) that is cut out of the middle, None for all.
        gray: whether colours become brightness, .299 R + .587 G + .114 B.
        resize: (height, width) it is scaled to, smoothed where it shrinks, None to keep it.
    """

    crop: tuple[int, int] | None = None
    gray: bool = False
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for key in ("crop", "resize"):
            size = getattr(self, key)
            if size is not None and min(size) < 1:
                raise ConfigError(f"{key}: got {list(size)}, expected [height, width], 1 or more")

    def __call__(self, pixels: Pixels, name: str) -> Pixels:
        """One picture framed.

        Args:
            pixels: ``[height, width, 1 or 3]``, uint8 or float32 in [0, 1]; keeps its type.
            name: of the picture, for messages.

        Raises:
            SourceError: it is smaller than the crop.
        """
        if self == Framing():
            return pixels
        out = pixels.astype(np.float32)
        if self.crop is not None:
            out = _middle(out, self.crop, name)
        if self.gray and out.shape[2] == 3:
            out = (out @ LUMA)[..., None]
        if self.resize is not None:
            out = _resized(out, self.resize)
        if pixels.dtype == np.uint8:
            return np.clip(np.rint(out), 0, 255).astype(np.uint8)
        return np.clip(out, 0, 1)


def decode(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """An encoded picture (PNG, JPEG, ...) as ``[height, width, 1 or 3]``, upright.

    Args:
        data: the bytes of the file; of an animation the first frame is read.
        name: of the picture, for messages.

    Raises:
        SourceError: it cannot be read, has more than 8 bits per colour, or is see-through.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image: Any = Image.open(io.BytesIO(data))
        image.load()
        image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise SourceError(
            f"{name} is no picture of a known format; copy it again or remove it"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise SourceError(
            f"{name} cannot be read as a picture ({error}); copy it again or remove it"
        ) from error
    if image.mode.startswith(("I", "F")):
        raise SourceError(
            f"{name} has more than 8 bits per pixel (mode {image.mode}); convert it to 8 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise SourceError(f"{name} is see-through in places; paint it onto a background")
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(image.height, image.width, -1)


class Stack:
    """Pictures of one source, collected into one array as they are decoded.

    Args:
        count: how many will come.
        framing: what is done to each.
    """

    def __init__(self, count: int, framing: Framing) -> None:
        self.count, self.framing = count, framing
        self.done = 0
        self.first = ""
        self.pixels: Pixels = np.empty((0, 0, 0, 0), np.uint8)

    def add(self, pixels: Pixels, name: str) -> None:
        """Take the next picture, ``[height, width, 1 or 3]``.

        Raises:
            SourceError: its size or number of colours is not that of the first; names both.
        """
        framed = self.framing(pixels, name)
        if not self.done:
            self.first = name
            self.pixels = np.empty((self.count, *framed.shape), framed.dtype)
        size, colours = framed.shape[:2], framed.shape[2]
        first = self.pixels.shape[1:3]
        if size != first:
            raise SourceError(
                f"{name} is {_times(size)} pixels (height x width), but the first, {self.first}, "
                f"is {_times(first)}; --set source.resize={list(first)} makes all pictures alike"
            )
        if colours != self.pixels.shape[3]:
            raise SourceError(
                f"{name} is {COLOURS[colours]}, but the first, {self.first}, is "
                f"{COLOURS[self.pixels.shape[3]]}; --set source.gray=true makes all pictures gray"
            )
        self.pixels[self.done] = framed
        self.done += 1

    def images(self) -> Pixels:
        """All of them: ``[n, height, width]`` if gray, ``[n, height, width, 3]`` if coloured."""
        return self.pixels[..., 0] if self.pixels.shape[3] == 1 else self.pixels


def _middle(
    pixels: npt.NDArray[np.float32], size: tuple[int, int], name: str
) -> npt.NDArray[np.float32]:
    height, width = pixels.shape[:2]
    if height < size[0] or width < size[1]:
        raise SourceError(
            f"{name} is {_times(pixels.shape[:2])} pixels (height x width), smaller than "
            f"source.crop={list(size)}; choose a smaller crop or remove it"
        )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return pixels[top : top + size[0], left : left + size[1]]


def _resized(pixels: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Each colour on its own, in floating point; Pillow's filter averages over what it shrinks."""
    from PIL import Image

    layers = [
        Image.fromarray(np.ascontiguousarray(pixels[..., c])).resize(
            (size[1], size[0]), Image.Resampling.BILINEAR
        )
        for c in range(pixels.shape[2])
    ]
    return np.stack([np.asarray(layer, np.float32) for layer in layers], axis=-1)


def _times(size: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in size)
