"""Where signals come from.

A *source* is a small typed description (part of a config); ``load()`` turns it into `Signals`,
which is all that generation sees. A new source is one dataclass with a ``kind`` of its own, and
one entry in `AnySource`.
"""

from zoo_gen.sources.arrays import NumpyArrays
from zoo_gen.sources.base import Part, Signals, Source, proportional
from zoo_gen.sources.folder import Folder
from zoo_gen.sources.functions import Sine, Sines
from zoo_gen.sources.idx import Idx
from zoo_gen.sources.images import Digits
from zoo_gen.sources.meshes import Meshes
from zoo_gen.sources.parquet import Parquet
from zoo_gen.sources.shapes import Shapes

AnySource = Digits | Idx | Folder | Parquet | NumpyArrays | Sine | Sines | Shapes | Meshes
"""Every source that a config can name."""

__all__ = [
    "AnySource",
    "Digits",
    "Folder",
    "Idx",
    "Meshes",
    "NumpyArrays",
    "Parquet",
    "Part",
    "Shapes",
    "Signals",
    "Sine",
    "Sines",
    "Source",
    "proportional",
]
