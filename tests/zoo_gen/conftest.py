"""A small zoo of real digits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zoo_gen import Digits, Fit, LocalEngine, Recipe, Signals, Split, Store, Zoo, generate

FIT = Fit((2, 6, 5, 1), w0=3.0, init="paper", steps=20, learning_rate=0.01)
ZOO = Zoo(FIT, Split(7, 1, 2), views=3, rows_per_shard=32)


@pytest.fixture(scope="session")
def signals() -> Signals:
    """Thirty digits."""
    return Digits().load().limited(30)


@pytest.fixture(scope="session")
def recipe(signals: Signals) -> Recipe:
    """Ninety networks in three shards, the last one shorter."""
    return Recipe.of("small", Digits(), signals, ZOO)


@pytest.fixture(scope="session")
def long_recipe(signals: Signals) -> Recipe:
    """Many shards that take a while: something to interrupt."""
    slow = replace(ZOO, fit=replace(FIT, steps=2000), rows_per_shard=6)
    return Recipe.of("long", Digits(), signals, slow)


@pytest.fixture(scope="session")
def zoo_store(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, signals: Signals) -> Store:
    """A root with the zoo of `recipe`, generated without Ray: what every engine must equal."""
    store = Store(str(tmp_path_factory.mktemp("zoo")))
    generate(store, recipe, signals, LocalEngine())
    return store
