"""The hashes of all built-in zoos, as recorded: a change would make every existing zoo again."""

from __future__ import annotations

import pytest

from pipeline.config.config import load
from zoo_gen import Recipe
from zoo_gen.recipe.recipe import hashed

RECORDED = {
    "adapt-cifar10": "9cf968d8",
    "cifar10": "13472a51",
    "cnn-cifar10": "fb93a597",
    "digits": "e23598d9",
    "fashion-mnist": "62999767",
    "mlp-mnist": "5726df3b",
    "mnist": "c04ea075",
    "mnist-edit": "c04ea075",
    "mnist-retrieve": "c04ea075",
    "shapes": "4b281592",
    "sine-frequency": "a79cb2db",
    "sine-ssl": "f1965a48",
}
"""Config -> hash of its zoo, with a fingerprint of zeros in place of the signals' own."""


@pytest.mark.parametrize("name", RECORDED)
def test_the_hash_of_a_built_in_zoo_is_the_recorded_one(name: str) -> None:
    config, _ = load(name)
    assert config.zoo is not None
    signals = getattr(config.zoo.fit, "runs", config.limit or 100)
    source, zoo_name = hashed(config.source), config.zoo_of or config.name
    assert Recipe(zoo_name, source, "0" * 64, signals, config.zoo).hash8 == RECORDED[name]
