"""Labelled images that nobody needs to download, and a small zoo of classifiers of them."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_gen import Classifier, Draw, LocalEngine, Mlp, Recipe, Signals, Split, Store, Zoo
from zoo_gen.make.generate import generate
from zoo_gen.sources.images import Digits, images_with_labels
from zoo_gen.sources.labelled import LabelledImages

FIT = Classifier(
    Mlp((6, 5)),
    runs=12,
    snapshots=(0.0, 0.5, 1.0),
    batch_size=8,
    evaluation_images=40,
    optimizer=Draw(choice=("adam", "sgd", "rmsprop")),
    learning_rate=Draw(log_uniform=(1e-3, 1e-1)),
    weight_decay=1e-3,
    activation=Draw(choice=("relu", "tanh")),
    dropout=Draw(uniform=(0.0, 0.4)),
    label_noise=0.2,
    fraction=Draw(uniform=(0.5, 1.0)),
    steps=Draw(uniform=(5, 30)),
)
ZOO = Zoo(FIT, Split(8, 2, 2), rows_per_shard=15)


@pytest.fixture(scope="session")
def labelled() -> Signals:
    """The digits of scikit-learn, of which the last 300 are kept for testing."""
    digits = Digits().load()
    images = digits.values.reshape(-1, 8, 8)
    part = np.where(np.arange(len(images)) < len(images) - 300, "train", "test")
    return images_with_labels(images, digits.columns["label"], part)


@pytest.fixture(scope="session")
def noise() -> LabelledImages:
    """Images of two channels, 7x6 pixels, in five classes."""
    rng = np.random.default_rng(0)
    rows = np.arange(200)
    pixels = rng.integers(0, 256, (200, 42, 2), np.uint8)
    return LabelledImages(pixels, rng.integers(0, 5, 200), rows[:150], rows[150:], (2, 7, 6))


@pytest.fixture(scope="session")
def classifier_recipe(labelled: Signals) -> Recipe:
    """Twelve runs of three snapshots, in shards of five runs, the last one shorter."""
    return Recipe.of("tiny", Digits(), labelled, ZOO)


@pytest.fixture(scope="session")
def classifier_store(
    tmp_path_factory: pytest.TempPathFactory, classifier_recipe: Recipe, labelled: Signals
) -> Store:
    """A root with that zoo, generated without Ray."""
    store = Store(str(tmp_path_factory.mktemp("classifiers")))
    generate(store, classifier_recipe, labelled, LocalEngine())
    return store
