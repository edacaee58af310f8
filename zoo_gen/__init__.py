"""Signals to fitted networks to Parquet shards."""

from zoo_gen.errors import (
    ConfigError,
    CorruptShard,
    DwszooError,
    EngineError,
    ModelError,
    SourceError,
    StorageError,
    TrackingError,
    TrainingError,
    ZooError,
)
from zoo_gen.make.generate import Generated, LocalEngine, generate
from zoo_gen.recipe.architectures import Cnn, Mlp
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.recipe.draws import Draw
from zoo_gen.recipe.forward_pass import ForwardPass
from zoo_gen.recipe.recipe import Fit, Recipe, Split, Zoo
from zoo_gen.sources import (
    SOURCES,
    Digits,
    Folder,
    Idx,
    Meshes,
    NumpyArrays,
    Parquet,
    Shapes,
    Signals,
    Sine,
    Sines,
    Source,
)
from zoo_gen.zoo.store import Store
from zoo_gen.zoo.zoo import ZooReader, open_zoo

__all__ = [
    "SOURCES",
    "Classifier",
    "Cnn",
    "ConfigError",
    "CorruptShard",
    "Digits",
    "Draw",
    "DwszooError",
    "EngineError",
    "Fit",
    "Folder",
    "ForwardPass",
    "Generated",
    "Idx",
    "LocalEngine",
    "Meshes",
    "Mlp",
    "ModelError",
    "NumpyArrays",
    "Parquet",
    "Recipe",
    "Shapes",
    "Signals",
    "Sine",
    "Sines",
    "Source",
    "SourceError",
    "Split",
    "StorageError",
    "Store",
    "TrackingError",
    "TrainingError",
    "Zoo",
    "ZooError",
    "ZooReader",
    "generate",
    "open_zoo",
]
