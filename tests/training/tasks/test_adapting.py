"""Adapting classifiers: scored on the images that are told, without a look at those of the test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from training import loop
from training.augmentation import Augmentation
from training.models import DwsNetwork, FineTuneNetwork, MlpNetwork, Network, UnchangedNetwork
from training.models.editors import build_editor
from training.settings import Training
from training.tasks import Adapt, TaskData, load
from zoo_gen import (
    Classifier,
    ConfigError,
    Digits,
    Draw,
    Fit,
    LocalEngine,
    Mlp,
    Recipe,
    Signals,
    Split,
    Store,
    TrainingError,
    Zoo,
    ZooReader,
    generate,
)
from zoo_gen.make.classifiers import corrupt
from zoo_gen.recipe.architectures import Cnn
from zoo_gen.sources.images import images_with_labels

FIT = Classifier(
    Mlp((6, 5), pixels=(-1.0, 1.0)),
    runs=40,
    classes="pairs",
    batch_size=16,
    evaluation_images=40,
    activation=Draw(choice=("relu", "tanh")),
    steps=60,
    learning_rate=0.01,
)
TASK = Adapt(corruptions=("contrast", "brightness"), severity=5, images=40, images_per_step=16)


@dataclass(frozen=True)
class SplitDigits:
    """The digits, of which the last 500 are kept for testing."""

    kind: str = "digits"

    def load(self) -> Signals:
        digits = Digits().load()
        part = np.where(np.arange(len(digits)) < len(digits) - 500, "train", "test")
        return images_with_labels(digits.values.reshape(-1, 8, 8), digits.columns["label"], part)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> ZooReader:
    store, signals = Store(str(tmp_path_factory.mktemp("pairs"))), SplitDigits().load()
    settings = Zoo(FIT, Split(30, 4, 6), rows_per_shard=40)
    recipe = Recipe.of("pairs", Digits(), signals, settings)
    generate(store, recipe, signals, LocalEngine())
    return ZooReader(store, recipe.folder)


@pytest.fixture(scope="module")
def data(zoo: ZooReader) -> TaskData:
    return load(zoo, TASK, SplitDigits())  # type: ignore[arg-type]


def test_unchanged_classifiers_score_as_the_zoo_says(data: TaskData, zoo: ZooReader) -> None:
    _, accuracy = loop.evaluate(
        build_editor(UnchangedNetwork(), data.space, data.forward_pass), data, "test"
    )
    signals = SplitDigits().load()
    images, label = signals.values.reshape(-1, 1, 8, 8), signals.columns["label"]
    rows = np.flatnonzero(signals.part == "test")[1::2]
    count = min((label[rows] == k).sum() for k in range(10))
    rows = np.concatenate([rows[label[rows] == k][:count] for k in range(10)])
    seen = np.empty((len(rows), 1, 8, 8), np.float32)
    for i, name in enumerate(TASK.corruptions):
        seen[i::2] = corrupt(images[rows][i::2], name, 5, seed=1)
    for i, member in enumerate(data.member[data.rows["test"]].tolist()):
        scores = zoo.evaluate(zoo.rows(member, member + 1), seen, label[rows])
        assert accuracy[i].item() == pytest.approx(scores.accuracy.item(), abs=1e-6)


def test_each_classifier_sees_its_two_classes_with_the_right_outputs(data: TaskData) -> None:
    known = torch.arange(10.0).reshape(10, 1, 1).expand(10, 3, 1)  # an image tells its class
    marked = replace(data, context=type(data.context)({"train": known}))
    target = torch.tensor([[2, 7, 0], [9, 1, 1]])
    x, y = TASK.pairs(marked, "train", target, torch.arange(6).expand(2, -1))
    assert x[..., 0].tolist() == [[2, 2, 2, 7, 7, 7], [9, 9, 9, 1, 1, 1]]
    assert y.tolist() == [[0, 0, 0, 1, 1, 1]] * 2


def test_no_image_is_in_two_splits(data: TaskData) -> None:
    seen = {
        name: set(map(bytes, x.flatten(0, 1).numpy())) for name, x in data.context.pixels.items()
    }
    assert not seen["val"] & seen["test"]
    assert not seen["train"] & (seen["val"] | seen["test"])


def test_no_split_suffers_the_draws_of_another(zoo: ZooReader) -> None:
    flat = np.full((1797, 8, 8), 8, np.uint8)  # what is left of these are the draws
    part = np.where(np.arange(1797) < 1297, "train", "test")
    label = Digits().load().columns["label"]

    class Flat:
        def load(self) -> Signals:
            return images_with_labels(flat, label, part)

    task = Adapt(corruptions=("gaussian-noise",), images=40)
    seen = load(zoo, task, Flat()).context.pixels  # type: ignore[arg-type]
    pixels = [set(map(bytes, x.flatten(0, 1).numpy())) for x in seen.values()]
    assert len(set.union(*pixels)) == sum(map(len, pixels))


def test_a_class_that_no_image_has_is_left_out(zoo: ZooReader) -> None:
    digits = SplitDigits().load()
    label = digits.columns["label"] + (digits.columns["label"] > 3)  # none has class 4

    class Gap:
        def load(self) -> Signals:
            return images_with_labels(digits.values.reshape(-1, 8, 8), label, digits.part)

    pixels = load(zoo, TASK, Gap()).context.pixels["val"]  # type: ignore[arg-type]
    filled = [bool(x.any()) for x in pixels]
    assert filled == [True] * 4 + [False] + [True] * 6


def test_a_class_without_test_images_is_told(zoo: ZooReader) -> None:
    digits = SplitDigits().load()
    kept = (digits.columns["label"] != 7) | (digits.part == "train")

    class Without:
        def load(self) -> Signals:
            values = digits.values.reshape(-1, 8, 8)[kept]
            return images_with_labels(values, digits.columns["label"][kept], digits.part[kept])

    with pytest.raises(TrainingError, match="the test half has none of class 7"):
        load(zoo, TASK, Without())  # type: ignore[arg-type]


def test_a_model_learns_to_adapt(data: TaskData) -> None:
    unchanged = build_editor(UnchangedNetwork(), data.space, data.forward_pass)
    before = loop.evaluate(unchanged, data, "train")[0]
    settings = Training(epochs=15, batch_size=10, learning_rate=0.01)
    network = DwsNetwork(hidden_channels=8, layers=2, project={"n0": 8})
    outcome = loop.train(network, data, settings, 0)
    after = loop.evaluate(outcome.model, data, "train")[0]
    assert after["loss"] < before["loss"]
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]


def test_fine_tuning_sees_the_same_images_and_helps(data: TaskData) -> None:
    unchanged, tuned = (
        loop.train(network, data, Training(epochs=1, batch_size=10), 0)
        for network in (
            UnchangedNetwork(),
            FineTuneNetwork(steps=60, learning_rate=0.01, batch_size=16),
        )
    )
    assert tuned.test["loss"] < unchanged.test["loss"]


def test_fine_tuning_does_not_depend_on_the_company(data: TaskData) -> None:
    model = TASK.build(FineTuneNetwork(steps=5, learning_rate=0.01, batch_size=16), data)
    rows = data.rows["train"][:8]
    whole = TASK.answers(model, data, "train", rows, "cpu")
    parts = [TASK.answers(model, data, "train", some, "cpu") for some in rows.split(3)]
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("network", [MlpNetwork(hidden=(4,)), FineTuneNetwork()])
def test_a_worker_without_a_classifier_has_a_loss_and_answers(
    network: Network, data: TaskData
) -> None:
    model, none = TASK.build(network, data), data.rows["train"][:0]
    batch = TASK.batch(data, none, Augmentation(), torch.Generator())
    TASK.loss(model, data, *batch).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert TASK.answers(model, data, "train", none, "cpu").shape == (0, 2)


def test_the_seed_is_that_of_the_order_of_images(data: TaskData) -> None:
    def scores(seed: int) -> dict[str, float]:
        settings = Training(epochs=1, batch_size=10)
        return loop.train(
            FineTuneNetwork(steps=5, learning_rate=0.01, batch_size=16), data, settings, seed
        ).test

    assert scores(0) == scores(0) != scores(1)


def test_the_same_seed_gives_the_same_metrics(data: TaskData) -> None:
    settings = Training(epochs=2, batch_size=10)
    a, b = (loop.train(MlpNetwork(hidden=(4,)), data, settings, 3) for _ in range(2))
    assert a.test == b.test


WRONG = {
    "classifiers of two classes each": Classifier(Mlp((6,)), runs=5),
    "it does not know convolutions": Classifier(Cnn((4,)), runs=5, classes="pairs"),
    "adapt changes classifiers": Fit((2, 4, 1)),
    "adapt takes what the networks were made of": None,
}


@pytest.mark.parametrize("message", WRONG)
def test_networks_that_cannot_be_adapted_are_told(message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TASK.check_fit(WRONG[message])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruptions": ("contrst",)}, r"corruptions: got 'contrst', expected some of gaussian"),
        ({"corruptions": ()}, "corruptions: got none"),
        ({"severity": 6}, "severity: got 6, expected 1, 2, 3, 4 or 5"),
        ({"images": 0}, "images: got 0, expected more than 0"),
    ],
)
def test_a_wrong_setting_is_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adapt(**settings)  # type: ignore[arg-type]
