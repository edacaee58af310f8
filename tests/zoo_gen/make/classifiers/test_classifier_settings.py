"""Settings of classifiers that make no sense are refused by their key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from zoo_gen import Classifier, Cnn, ConfigError, Draw, Mlp
from zoo_gen.recipe.recipe import hashed

FIT = Classifier(Mlp((6, 5), pixels=(-1.0, 1.0)), runs=3)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"runs": 0}, "runs: got 0, expected 1 or more"),
    ({"batch_size": 0}, "batch_size: got 0, expected 1 or more"),
    ({"evaluation_images": 0}, "evaluation_images: got 0, expected 1 or more"),
    ({"snapshots": ()}, r"snapshots: got \[\], expected rising shares"),
    ({"snapshots": (0.5, 0.5)}, r"snapshots: got \[0.5, 0.5\], expected rising shares"),
    ({"snapshots": (0.5, 1.1)}, r"snapshots: got \[0.5, 1.1\], expected rising shares"),
    ({"snapshots": (-0.1,)}, r"snapshots: got \[-0.1\], expected rising shares"),
    ({"learning_rate": 0.0}, "learning_rate: got 0.0, expected numbers above 0"),
    ({"learning_rate": Draw(uniform=(0, 1))}, "learning_rate: got 0, expected numbers above 0"),
    ({"learning_rate": float("nan")}, "learning_rate: got nan, expected numbers above 0"),
    ({"weight_decay": -1.0}, "weight_decay: got -1.0, expected numbers, 0 or more"),
    ({"init_scale": 0.0}, "init_scale: got 0.0, expected numbers above 0"),
    ({"dropout": Draw(choice=(0, 1))}, "dropout: got 1, expected numbers from 0 to less than 1"),
    ({"dropout": Draw(choice=("a",))}, "dropout: got 'a', expected numbers from 0"),
    ({"label_noise": 1.1}, "label_noise: got 1.1, expected numbers from 0 to 1"),
    ({"fraction": 0.0}, "fraction: got 0.0, expected numbers above 0, at most 1"),
    ({"steps": 0}, "steps: got 0, expected whole numbers, 1 or more"),
    ({"steps": Draw(choice=(1, 2.5))}, "steps: got 2.5, expected whole numbers, 1 or more"),
    ({"activation": "sine"}, "activation: got 'sine', expected relu or tanh"),
    ({"optimizer": Draw(choice=("adam", "adm"))}, "optimizer: got 'adm', expected adam or sgd or"),
    ({"optimizer": Draw(uniform=(0, 1))}, "optimizer: got 0, expected adam or sgd or rmsprop"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=lambda x: str(x)[:40])
def test_a_wrong_setting_is_told_by_its_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        replace(FIT, **changes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Mlp(()), r"hidden: got \[\], expected one or more"),
        (lambda: Cnn((4, 0)), r"channels: got \[4, 0\], expected one or more, each 1 or more"),
        (lambda: Cnn((4,), kernel=2), "kernel: got 2, expected an odd number"),
        (lambda: Cnn((4,), stride=0), "stride: got 0, expected 1 or more"),
        (lambda: Mlp((4,), pixels=(1.0, 1.0)), r"pixels: got \[1.0, 1.0\], expected two numbers"),
    ],
)
def test_a_wrong_network_is_told_by_its_key(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        build()


@pytest.mark.parametrize("network", [FIT.network, Cnn((4, 3), 5, 1)], ids=["mlp", "cnn"])
def test_what_is_written_is_read(network: Mlp | Cnn) -> None:
    steps, noise = Draw(choice=(3, 4)), Draw(uniform=(0.0, 0.5))
    fit = replace(FIT, network=network, classes="pairs", steps=steps, label_noise=noise)
    assert Classifier.read(json.loads(json.dumps(hashed(fit))), groups=3) == fit


def test_steps_of_a_range_are_whole() -> None:
    from zoo_gen.make.classifiers.runs import draw_run

    fit = replace(FIT, steps=Draw(uniform=(3.5, 40)), snapshots=(0.01, 0.5, 1.0))
    for seed in range(20):
        run = draw_run(fit, seed, None)
        assert isinstance(run.settings["steps"], int)
        assert run.snapshot_steps(fit.snapshots) == [1, -(-run.steps // 2), run.steps]
