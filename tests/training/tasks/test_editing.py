"""Weights to weights: edits as image processing has them, models that begin by changing nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, grey_erosion

from dws import act, random_permutation
from training import loop
from training.augmentation import Augmentation
from training.models import (
    DwsNetwork,
    FineTuneNetwork,
    Inr2VecNetwork,
    MlpNetwork,
    StatisticsNetwork,
    TransformerNetwork,
    UnchangedNetwork,
)
from training.models.editors import build_editor
from training.settings import Training
from training.tasks import Edit, TaskData, load
from zoo_gen import ConfigError, Digits, Sine, Store, ZooReader

EDITORS = {
    "dwsnet": DwsNetwork(hidden_channels=4, layers=2),
    "mlp": MlpNetwork(hidden=(8,)),
    "inr2vec": Inr2VecNetwork(hidden=(8,), head=(8,)),
    "transformer": TransformerNetwork(channels=8, layers=1, heads=2),
    "unchanged": UnchangedNetwork(),
}


@pytest.fixture(scope="module")
def zoo(root: Store) -> ZooReader:
    return ZooReader(root, f"zoos/{root.names('zoos')[0]}")


@pytest.fixture(scope="module")
def edited(zoo: ZooReader) -> TaskData:
    return load(zoo, Edit(), Digits())


@pytest.mark.parametrize("kind", EDITORS)
def test_a_model_begins_by_changing_nothing_and_can_learn(kind: str, edited: TaskData) -> None:
    model = build_editor(EDITORS[kind], edited.space, edited.forward_pass)
    model.standardize.fit(edited.theta)  # type: ignore[union-attr, operator]
    theta = edited.theta[:6]
    torch.testing.assert_close(model(theta), theta, rtol=0, atol=0)
    model(theta).square().sum().backward()
    moved = [p for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert bool(moved) == (kind != "unchanged")


def test_a_dwsnet_changes_permuted_networks_alike(edited: TaskData) -> None:
    model = build_editor(EDITORS["dwsnet"], edited.space, edited.forward_pass).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(p.numel()))
    theta, space = edited.theta[:4].double(), edited.space
    g = random_permutation(space, torch.Generator().manual_seed(0))

    def permuted(x: torch.Tensor) -> torch.Tensor:
        return space.flatten(act(space, g, space.split(x)))

    assert not torch.allclose(model(theta), theta)
    torch.testing.assert_close(model(permuted(theta)), permuted(model(theta)))


def test_a_worker_without_a_network_has_a_loss_and_answers(edited: TaskData) -> None:
    task, none = Edit(), edited.rows["train"][:0]
    model = task.build(EDITORS["mlp"], edited)
    task.loss(
        model, edited, *task.batch(edited, none, Augmentation(), torch.Generator())
    ).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert task.answers(model, edited, "train", none, "cpu").shape == (0,)


def test_statistics_cannot_say_how_each_neuron_changes(edited: TaskData) -> None:
    with pytest.raises(ConfigError, match="got statistics, but its answer is the same for any ord"):
        Edit().build(StatisticsNetwork(), edited)


def test_fine_tuning_has_no_images_here(edited: TaskData) -> None:
    with pytest.raises(ConfigError, match="fine-tune, which trains classifiers on the images of"):
        Edit().build(FineTuneNetwork(), edited)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_dilation_and_erosion_are_those_of_scipy(size: int) -> None:
    images = torch.rand(3, 9, 7, 2, generator=torch.Generator().manual_seed(0))
    for edit, reference in (("dilate", grey_dilation), ("erode", grey_erosion)):
        task = Edit(edit=edit, size=size)  # type: ignore[arg-type]
        expected = reference(images.numpy(), (1, size, size, 1), mode="nearest")
        np.testing.assert_allclose(task.edited(images).numpy(), expected)


def test_contrast_is_the_distance_from_gray_and_is_cut() -> None:
    images = torch.tensor([0.0, 0.4, 0.5, 0.6, 1.0]).reshape(1, 1, 5, 1)
    said = Edit(edit="contrast", amount=3.0).edited(images).flatten()
    torch.testing.assert_close(said, torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0]))


def test_the_error_is_that_of_what_the_zoo_draws_against_the_edited_image(
    edited: TaskData, zoo: ZooReader
) -> None:
    model = build_editor(UnchangedNetwork(), edited.space, edited.forward_pass)
    score, each = loop.evaluate(model, edited, "test")
    signals, rows = Digits().load(), edited.rows["test"]
    drawn = zoo.render(edited.theta[rows], signals.coordinates).reshape(len(rows), 8, 8)
    signal = zoo.columns()["signal"][edited.member[rows]]
    true = signals.targets(signal).reshape(-1, 8, 8)
    expected = ((drawn.numpy() - grey_dilation(true, (1, 3, 3), mode="nearest")) ** 2).mean((1, 2))
    np.testing.assert_allclose(each, expected, rtol=1e-4)
    assert score["mse"] == pytest.approx(expected.mean(), rel=1e-4)


def test_a_model_learns_to_dilate(edited: TaskData) -> None:
    unchanged = build_editor(UnchangedNetwork(), edited.space, edited.forward_pass)
    before = loop.evaluate(unchanged, edited, "test")[0]["mse"]
    settings = Training(epochs=8, batch_size=24, learning_rate=0.01)
    outcome = loop.train(EDITORS["dwsnet"], edited, settings, 0)
    assert outcome.test["mse"] < 0.8 * before
    shown = edited.task.shown(edited, outcome.model, edited.rows["test"][:2])  # type: ignore[attr-defined]
    assert {name: tuple(x.shape) for name, x in shown.items()} == dict.fromkeys(
        ("drawn", "wanted", "changed"), (2, 8, 8, 1)
    )


@pytest.mark.parametrize("key", ["rotation", "mixup", "weight_dropout"])
def test_what_changes_the_drawing_is_no_augmentation(key: str) -> None:
    with pytest.raises(ConfigError, match=f"augment.{key}: got 0.5, but it changes what networks"):
        Edit().check_augmentation(Augmentation(**{key: 0.5}))


SETTINGS: dict[str, dict[str, Any]] = {
    "size: got 2, expected an odd number": {"size": 2},
    "amount: got 0, expected more than 0": {"amount": 0},
}


@pytest.mark.parametrize("message", SETTINGS)
def test_a_wrong_setting_is_told(message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Edit(**SETTINGS[message])


def test_signals_that_are_no_images_are_told(zoo: ZooReader) -> None:
    with pytest.raises(ConfigError, match="the source sine gives none"):
        load(zoo, Edit(), Sine(points=20, count=5))


def test_a_zoo_without_its_source_is_told(zoo: ZooReader) -> None:
    with pytest.raises(ConfigError, match="edit takes what the networks were made of"):
        load(zoo, Edit())
