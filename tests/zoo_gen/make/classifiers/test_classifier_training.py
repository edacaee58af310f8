"""The batched training equals the plain loop: one nn.Sequential, autograd, torch.optim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from zoo_gen import Classifier, Cnn, Draw, Idx, Mlp
from zoo_gen.make.classifiers import accuracy
from zoo_gen.make.classifiers.optimizers import Update
from zoo_gen.make.classifiers.runs import ClassifierRun, Order, dealt_pair, draw_run
from zoo_gen.make.classifiers.train import batches, train
from zoo_gen.sources.labelled import LabelledImages

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "sgd": lambda params, **rest: torch.optim.SGD(params, momentum=0.9, **rest),
    "rmsprop": torch.optim.RMSprop,
}
NETWORKS = {
    "mlp": Mlp((8, 7)),
    "deep mlp": Mlp((4, 5, 6), pixels=(-1.0, 1.0)),
    "cnn": Cnn((4, 5), pixels=(-1.0, 1.0)),
    "cnn of kernel 5 and stride 1": Cnn((3, 4, 5), 5, 1),
    "cnn of one tap and stride 3": Cnn((6,), 1, 3),
}
MIXED = Classifier(
    NETWORKS["mlp"],
    runs=6,
    batch_size=16,
    steps=Draw(choice=(8, 5)),
    activation=Draw(choice=("relu", "tanh")),
    optimizer=Draw(choice=("adam", "sgd", "rmsprop")),
    learning_rate=Draw(log_uniform=(1e-4, 1e-2)),
    weight_decay=0.01,
    label_noise=0.1,
    fraction=0.3,
    dropout=Draw(choice=(0.0, 0.4)),
)


def runs_of(fit: Classifier, pair: tuple[int, int] | None = None) -> list[ClassifierRun]:
    return [draw_run(fit, seed, pair) for seed in range(fit.runs)]


def plain_loop(fit: Classifier, run: ClassifierRun, images: LabelledImages) -> torch.Tensor:
    """One network, as anybody would train it, with the dropout that the run draws."""
    outputs = fit.outputs(images.classes)
    net = fit.network.module(images.shape, outputs, str(run.settings["activation"]))
    space = fit.space(images.shape, images.classes)
    vector_to_parameters(torch.from_numpy(run.initial(space)), net.parameters())
    rate, decay = run.number("learning_rate"), run.number("weight_decay")
    kind = OPTIMIZERS[str(run.settings["optimizer"])]
    optimizer = kind(net.parameters(), lr=rate, weight_decay=decay)
    rows, label = run.training(images)
    order, masks = Order(run, len(rows)), run.generator("dropout")
    widths = [space.sizes[axis] for axis in space.hidden]
    for _ in range(run.steps):
        now = order.take(fit.batch_size)
        draws = masks.random((sum(widths), fit.batch_size), np.float32)
        kept = torch.from_numpy((draws >= run.dropout) / np.float32(1 - run.dropout))
        waiting = list(kept.split(widths))
        h = torch.from_numpy(images.take(rows[now])).unflatten(1, images.shape)
        for layer in net:
            if isinstance(layer, nn.Dropout | nn.Dropout2d):
                mask = waiting.pop(0).T
                h = h * mask.reshape(*mask.shape, *[1] * (h.ndim - 2))
            else:
                h = layer(h)
        loss = cross_entropy(h, torch.from_numpy(label[now]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return parameters_to_vector(net.parameters()).detach()


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_equal_the_plain_loops(network: str, noise: LabelledImages) -> None:
    fit = replace(MIXED, network=NETWORKS[network])
    runs = runs_of(fit)
    assert {run.settings["optimizer"] for run in runs} == set(OPTIMIZERS)
    slow = torch.stack([plain_loop(fit, run, noise) for run in runs])
    # RMSprop and Adam divide by the gradient's size: rounding of tiny gradients shows
    torch.testing.assert_close(train(fit, runs, noise)[:, -1], slow, rtol=1e-4, atol=1e-4)


def test_a_pair_of_classes_is_told_apart(noise: LabelledImages) -> None:
    fit = replace(MIXED, classes="pairs", label_noise=0.0)
    runs = runs_of(fit, (1, 3))
    slow = torch.stack([plain_loop(fit, run, noise) for run in runs])
    torch.testing.assert_close(train(fit, runs, noise)[:, -1], slow, rtol=1e-4, atol=1e-4)
    rows, label = runs[0].training(noise)
    assert (noise.label[rows] == np.where(label == 1, 3, 1)).all()


def test_a_snapshot_is_the_run_cut_short(noise: LabelledImages) -> None:
    fit = replace(MIXED, snapshots=(0.0, 0.4, 1.0), steps=20)
    runs = runs_of(fit)
    found = train(fit, runs, noise)
    cut = [replace(run, settings=run.settings | {"steps": 8}) for run in runs]
    initial = np.stack([run.initial(fit.space(noise.shape, 5)) for run in runs])
    np.testing.assert_array_equal(found[:, 0], initial)
    torch.testing.assert_close(found[:, 1], train(MIXED, cut, noise)[:, -1], rtol=1e-4, atol=1e-5)


@hypothesis_settings(max_examples=8)
@given(st.permutations(list(range(6))))
def test_who_shares_a_batch_changes_a_run_by_rounding_only(
    noise: LabelledImages, order: list[int]
) -> None:
    runs = runs_of(MIXED)
    together = train(MIXED, runs, noise)
    some = train(MIXED, [runs[i] for i in order[:4]], noise)
    torch.testing.assert_close(some, together[order[:4]], rtol=1e-4, atol=1e-5)


def test_the_same_call_gives_the_same_bits(noise: LabelledImages) -> None:
    runs = runs_of(MIXED)
    assert torch.equal(train(MIXED, runs, noise), train(MIXED, runs, noise))


def test_every_run_is_in_one_batch_of_its_activation(noise: LabelledImages) -> None:
    fit = replace(MIXED, runs=50)
    runs = runs_of(fit)
    found = list(batches(fit, runs, noise))
    assert sorted(i for batch in found for i in batch) == list(range(50))
    assert all(len({runs[i].settings["activation"] for i in batch}) == 1 for batch in found)


def test_a_run_that_is_done_costs_no_more_steps(
    noise: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = replace(MIXED, activation="relu", steps=Draw(uniform=(3, 12)))
    runs, updated = runs_of(fit), [0]
    step = Update.step

    def counted(self: Update, grad: torch.Tensor, number: int) -> None:
        updated[0] += len(grad)
        step(self, grad, number)

    monkeypatch.setattr(Update, "step", counted)
    train(fit, runs, noise)
    assert updated == [sum(run.steps for run in runs)]


def test_pixels_are_taken_channel_by_channel(noise: LabelledImages) -> None:
    taken = noise.take(np.array([[3, 5]])).reshape(2, 2, 7, 6)
    expected = noise.values[[3, 5]].reshape(2, 7, 6, 2).transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_allclose(taken, expected, rtol=1e-6)


def test_real_digits_are_learned(mnist) -> None:
    images = LabelledImages.of(Idx(path=str(mnist)).load())
    fit = Classifier(Mlp((32, 32)), runs=2, learning_rate=5e-3, steps=700)
    space, theta = fit.space(images.shape, 10), train(fit, runs_of(fit), images)[:, -1]
    pixels = images.take(images.test).reshape(-1, *images.shape)
    label = images.label[images.test]
    found = accuracy(fit.network, space, theta, pixels, label, "relu")
    assert found.accuracy.min() > 0.92


def test_wrong_labels_are_as_many_as_is_told(noise: LabelledImages) -> None:
    run = draw_run(replace(MIXED, label_noise=0.3, fraction=0.4), 7, None)
    rows, label = run.training(noise)
    assert len(rows) == len(set(rows)) == 60
    assert (label != noise.label[rows]).sum() == 18
    assert set(rows) <= set(noise.train)


def test_a_wrong_label_is_a_class_that_the_source_has(noise: LabelledImages) -> None:
    gaps = replace(noise, label=2 * noise.label)  # 0, 2, ... 8
    run = draw_run(replace(MIXED, label_noise=1.0), 7, None)
    rows, label = run.training(gaps)
    assert set(label) == set(gaps.label)
    assert (label != gaps.label[rows]).all()
    assert (label == 2 * run.training(noise)[1]).all()  # drawn alike


def test_a_run_sees_every_image_once_an_epoch(noise: LabelledImages) -> None:
    order = Order(draw_run(MIXED, 3, None), 10)
    seen = np.concatenate([order.take(4) for _ in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_a_hyperparameter_does_not_depend_on_which_others_are_drawn() -> None:
    alone = draw_run(replace(MIXED, dropout=0.0, activation="relu"), 11, None)
    beside = draw_run(MIXED, 11, None)
    assert alone.settings["learning_rate"] == beside.settings["learning_rate"]


def test_seeds_that_share_their_low_32_bits_give_other_runs(noise: LabelledImages) -> None:
    space = MIXED.space(noise.shape, 5)
    a, b = (draw_run(MIXED, seed, None).initial(space) for seed in (5, 5 + 2**32))
    assert (a != b).any()


def test_initial_weights_have_the_spread_that_is_told() -> None:
    fit = replace(MIXED, network=Mlp((50, 40)), init_scale=0.7)
    space = fit.space((1, 10, 10), 10)
    many = np.stack([draw_run(fit, seed, None).initial(space) for seed in range(40)])
    tensors = space.split(torch.from_numpy(many))
    for name, fan_in in (("W1", 100), ("W2", 50), ("W3", 40)):
        assert tensors[name].std().item() == pytest.approx(0.7 / fan_in**0.5, rel=0.05)
    assert tensors["b1"].abs().max() == 0


def test_pairs_are_dealt_evenly_in_an_order_of_the_seed() -> None:
    dealt = [dealt_pair([0, 2, 5, 7], 0, run) for run in range(12)]
    assert sorted(dealt[:6]) == sorted(dealt[6:]) == sorted(set(dealt))
    assert all(a < b for a, b in dealt)
    assert dealt[:6] != dealt[6:]
    assert dealt != [dealt_pair([0, 2, 5, 7], 1, run) for run in range(12)]


def test_a_run_that_diverges_costs_the_others_nothing(noise: LabelledImages) -> None:
    runs = runs_of(replace(MIXED, activation="relu", optimizer="sgd", learning_rate=1e-3))
    wild = replace(runs[2], settings=runs[2].settings | {"learning_rate": 1e30})
    found = train(MIXED, [*runs[:2], wild, *runs[3:]], noise)[:, -1]
    finite = found.isfinite().all(1)
    assert finite.tolist() == [True, True, False, True, True, True]
    torch.testing.assert_close(found[finite], train(MIXED, runs, noise)[finite, -1])
