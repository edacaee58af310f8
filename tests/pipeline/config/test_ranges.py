"""Ranges in a config: for a search, for other commands, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.config import load, load_search
from zoo_gen import ConfigError, Draw

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "description": "eighty digits",
    "source": {"kind": "digits"},
    "zoo": {"fit": {"widths": [2, 6, 1], "steps": 5}, "split": {"train": 7, "val": 1, "test": 2}},
    "models": {
        "mlp": {"network": {"kind": "mlp", "hidden": [8]}, "training": {"epochs": 2}},
    },
}
RATE = "models.mlp.training.learning_rate"


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    return str(file)


def test_a_range_is_a_dimension_in_the_place_of_its_value(config: str) -> None:
    _, space = load_search(config, (f"{RATE}={{log_uniform: [1e-4, 1e-2]}}",))
    (dimension,) = space.dimensions
    assert (dimension.key, dimension.whole) == (RATE, False)
    assert dimension.range.log_uniform == (1e-4, 1e-2)


def test_other_commands_take_the_default(config: str) -> None:
    parsed, text = load(config, (f"{RATE}={{log_uniform: [1e-4, 1e-2], default: 5e-3}}",))
    assert parsed.models["mlp"].training.learning_rate == 5e-3
    assert "log_uniform" in text


def test_a_config_with_defaults_is_the_config_without_ranges(config: str) -> None:
    ranged, _ = load(config, ("models.mlp.training.epochs={uniform: [1, 9], default: 2}",))
    assert ranged == load(config)[0]


def test_other_commands_refuse_a_range_without_default(config: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{RATE}: is a range without a default.*dwszoo tune"):
        load(config, (f"{RATE}={{log_uniform: [1e-4, 1e-2]}}",))


@pytest.mark.parametrize(
    ("key", "whole"),
    [
        ("models.mlp.training.epochs", True),
        ("models.mlp.training.weight_decay", False),
        ("zoo.views", True),
        ("zoo.fit.w0", False),
        ("zoo.fit.widths.1", True),
    ],
)
def test_whole_numbers_are_drawn_where_the_config_takes_no_other(
    config: str, key: str, whole: bool
) -> None:
    _, space = load_search(config, (change(key, "{uniform: [2, 8]}"),))
    assert [(d.key, d.whole) for d in space.dimensions] == [(key, whole)]


def change(key: str, text: str) -> str:
    """`--set` reaches keys, not entries of lists."""
    if key == "zoo.fit.widths.1":
        return f"zoo.fit.widths=[2, {text}, 1]"
    return f"{key}={text}"


def test_a_choice_may_be_of_lists_words_or_switches(config: str) -> None:
    changes = (
        "models.mlp.network.hidden={choice: [[8], [16, 8]]}",
        "models.mlp.training.augment={permutation: {choice: [true, false]}}",
        "models.mlp.training.prepare={choice: [none, align]}",
    )
    _, space = load_search(config, changes)
    assert [d.range.choice for d in space.dimensions] == [
        ((8,), (16, 8)),
        (True, False),
        ("none", "align"),
    ]


def test_draws_for_each_classifier_of_a_zoo_are_not_searched(tmp_path: Path) -> None:
    changes = ("source.path=x", "zoo.fit.learning_rate={log_uniform: [1e-4, 1e-2]}")
    _, space = load_search("mlp-mnist", changes)
    assert space.dimensions == ()
    parsed, _ = load("mlp-mnist", changes)
    assert parsed.zoo is not None
    assert parsed.zoo.fit.learning_rate == Draw(log_uniform=(1e-4, 1e-2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "models.mlp.training.learnin_rate={uniform: [0.1, 0.2]}",
            r"models.mlp.training.learnin_rate: unknown key \(did you mean learning_rate\?\)",
        ),
        (
            f"{RATE}={{log_unifrom: [1e-4, 1e-2]}}",
            rf"{RATE}: unknown range log_unifrom \(did you mean log_uniform\?\); allowed: uniform, "
            "log_uniform, choice",
        ),
        (
            f"{RATE}={{uniform: [0.1, 0.2], defualt: 0.1}}",
            rf"{RATE}.defualt: unknown key \(did you mean default\?\)",
        ),
        (f"{RATE}={{uniform: 0.1}}", rf"{RATE}.uniform: got 0.1, expected \[least, most\]"),
        (f"{RATE}={{uniform: [0.2, 0.1]}}", rf"{RATE}.uniform: got \[0.2, 0.1\], expected two"),
        (f"{RATE}={{log_uniform: [0, 0.1]}}", rf"{RATE}.log_uniform: got \[0, 0.1\], .*above 0"),
        (f"{RATE}={{choice: []}}", rf"{RATE}.choice: got \[\], expected different values"),
        (f"{RATE}={{choice: 3}}", rf"{RATE}.choice: got 3, expected a list of values"),
        (
            f"{RATE}={{uniform: [0.1, 0.2], choice: [0.1]}}",
            rf"{RATE}.uniform, log_uniform or choice: got uniform and choice, expected exactly one",
        ),
        (f"{RATE}={{choice: [0.1, fast]}}", rf'{RATE}: got "fast", expected number'),
        (f"{RATE}={{uniform: [-0.1, 0.2]}}", r"models.mlp.training.*learning_rate: got -0.1, exp"),
        (
            "models.mlp.training.epochs={uniform: [1.5, 4]}",
            r"models.mlp.training.epochs: got 1.5, expected .*integer",
        ),
        (
            f"{RATE}={{uniform: [0.1, 0.2], default: 0.5}}",
            rf"{RATE}.default: got 0.5, expected within \[0.1, 0.2\]",
        ),
        ("seeds={choice: [[0], [1]]}", "seeds: cannot be searched; values of source, zoo, models"),
        ("tune.seed={uniform: [0, 3]}", "tune.seed: cannot be searched"),
    ],
)
def test_a_wrong_range_is_named_in_one_line(config: str, wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        load_search(config, (wrong,))
    assert "\n" not in str(error.value)
