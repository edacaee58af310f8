"""Where signals come from.

A *source* is a small typed description (part of a config); ``load()`` turns it into `Signals`,
which is all that generation sees. A new source is a file with a `Source`, and a line in `SOURCES`;
or in another package an entry point of the group ``dwszoo.sources`` (docs/extend-source.md).
"""

from zoo_gen.plugins import Kinds
from zoo_gen.sources.arrays import NumpyArrays
from zoo_gen.sources.base import Part, Signals, Source, function_signals, grid, proportional
from zoo_gen.sources.folder import Folder
from zoo_gen.sources.functions import Sine, Sines
from zoo_gen.sources.idx import Idx
from zoo_gen.sources.images import Digits
from zoo_gen.sources.meshes import Meshes
from zoo_gen.sources.parquet import Parquet
from zoo_gen.sources.shapes import Shapes

SOURCES = Kinds(
    "dwszoo.sources",
    Source,
    Digits,
    Idx,
    Folder,
    Parquet,
    NumpyArrays,
    Sine,
    Sines,
    Shapes,
    Meshes,
)
"""Every source that a config can name: kind -> class."""

__all__ = [
    "SOURCES",
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
    "function_signals",
    "grid",
    "proportional",
]
