"""A zoo of classifiers keeps the contract of every zoo, and its columns say what is so."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import vector_to_parameters

from zoo_gen import (
    Classifier,
    Cnn,
    ConfigError,
    Digits,
    Draw,
    LocalEngine,
    Mlp,
    Recipe,
    Signals,
    Sine,
    Split,
    Store,
    Zoo,
    ZooError,
    ZooReader,
    generate,
)
from zoo_gen.exchange.export import export_zoo
from zoo_gen.exchange.imports import Import, open_source
from zoo_gen.make.classifiers.rows import evaluated, the_run
from zoo_gen.make.generate import fit_shard
from zoo_gen.make.job import ShardJob
from zoo_gen.sources.labelled import LabelledImages
from zoo_gen.zoo.layout import describe

HYPER = ["optimizer", "learning_rate", "weight_decay", "init_scale", "activation", "dropout"]
HYPER += ["label_noise", "fraction", "run_steps"]


@pytest.fixture(scope="session")
def zoo(classifier_store: Store, classifier_recipe: Recipe) -> ZooReader:
    """Twelve runs of three snapshots."""
    return ZooReader(classifier_store, classifier_recipe.folder)


def shards(store: Store, recipe: Recipe) -> dict[str, bytes]:
    folder = f"{recipe.folder}/shards"
    return {name: store.read(f"{folder}/{name}") for name in store.names(folder)}


def some_zoo(fit: Classifier, **changes: object) -> Zoo:
    return Zoo(replace(fit, **changes), Split(1, 1, 1), rows_per_shard=len(fit.snapshots))


def generated(fit: Classifier, labelled: Signals, path: Path) -> ZooReader:
    recipe = Recipe.of("some", Digits(), labelled, some_zoo(fit))
    store = Store(str(path))
    generate(store, recipe, labelled, LocalEngine())
    return ZooReader(store, recipe.folder)


def test_any_shard_alone_has_the_same_bytes(
    tmp_path: Path, classifier_store: Store, classifier_recipe: Recipe, labelled: Signals
) -> None:
    store = Store(str(tmp_path))
    description = describe(store, classifier_recipe, classifier_recipe.space(labelled))
    for shard in (2, 0):
        fit_shard(ShardJob(store, classifier_recipe, labelled, description), shard)
    whole = shards(classifier_store, classifier_recipe)
    assert list(whole) == [f"part-0000{i}.parquet" for i in range(3)]
    assert shards(store, classifier_recipe).items() <= whole.items()


def test_what_is_missing_comes_back_byte_for_byte(
    tmp_path: Path, classifier_store: Store, classifier_recipe: Recipe, labelled: Signals
) -> None:
    store = Store(str(tmp_path))
    generate(store, classifier_recipe, labelled, LocalEngine())
    os.unlink(store.local(f"{classifier_recipe.folder}/shards/part-00001.parquet"))
    assert generate(store, classifier_recipe, labelled, LocalEngine()).fitted == 15
    assert shards(store, classifier_recipe) == shards(classifier_store, classifier_recipe)


def test_ray_gives_the_same_bytes(
    ray_session: int,
    tmp_path: Path,
    classifier_store: Store,
    classifier_recipe: Recipe,
    labelled: Signals,
) -> None:
    from zoo_gen.make.ray_engine import RayEngine

    store = Store(str(tmp_path))
    generate(store, classifier_recipe, labelled, RayEngine(2))
    assert shards(store, classifier_recipe) == shards(classifier_store, classifier_recipe)


def test_progress_rises_to_the_number_of_members(
    tmp_path: Path, classifier_recipe: Recipe, labelled: Signals
) -> None:
    told: list[int] = []
    generate(Store(str(tmp_path)), classifier_recipe, labelled, LocalEngine(), told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 36)


def test_rows_are_the_snapshots_of_runs(zoo: ZooReader) -> None:
    frame = zoo.frame()
    assert frame["signal"].tolist() == [run for run in range(12) for _ in range(3)]
    assert frame["view"].tolist() == [0, 1, 2] * 12
    for name in ["split", "seed", *HYPER]:
        assert (frame.groupby("signal")[name].nunique() == 1).all(), name
    assert frame["psnr"].isna().all()
    assert frame["seed"].nunique() == 12
    assert (frame["steps"][2::3] == frame["run_steps"][2::3]).all()
    assert (frame["steps"][0::3] == 0).all()
    assert sorted(frame["split"].unique()) == ["test", "train", "val"]


def test_hyperparameters_are_drawn_anew_for_each_run(zoo: ZooReader) -> None:
    frame = zoo.frame()
    assert frame["learning_rate"].nunique() == 12
    assert set(frame["optimizer"]) == {"adam", "sgd", "rmsprop"}
    assert set(frame["activation"]) == {"relu", "tanh"}


def test_columns_of_loss_and_accuracy_are_those_of_torch(
    zoo: ZooReader, classifier_recipe: Recipe, labelled: Signals
) -> None:
    images, columns = LabelledImages.of(labelled), zoo.columns(theta=True)
    fit = zoo.maker
    assert fit is not None
    for row in (4, 20, 35):
        run = the_run(classifier_recipe, fit, images, row // 3)
        net = fit.network.module(images.shape, 10, str(columns["activation"][row])).eval()
        vector_to_parameters(torch.from_numpy(columns["theta"][row]), net.parameters())
        own = run.training(images)
        told = {"loss": own}
        told |= {f"{p}_loss": run.images(images, getattr(images, p)) for p in ("train", "test")}
        for name, (rows, label) in told.items():
            some = evaluated(len(rows), 40)
            rows, y = rows[some], torch.from_numpy(label[some])
            answer = net(torch.from_numpy(images.take(rows)).unflatten(1, images.shape)).detach()
            assert columns[name][row] == pytest.approx(cross_entropy(answer, y).item(), rel=1e-4)
            if name != "loss":
                share = (answer.argmax(1) == y).float().mean().item()
                assert columns[name.replace("loss", "accuracy")][row] == pytest.approx(share)


def test_the_reader_evaluates_rows_as_they_were_evaluated(
    zoo: ZooReader, labelled: Signals
) -> None:
    images = LabelledImages.of(labelled)
    rows, some = zoo.rows(0, 36), images.test[evaluated(len(images.test), 40)]
    found = zoo.evaluate(rows, images.take(some).reshape(-1, 1, 8, 8), images.label[some])
    torch.testing.assert_close(found.accuracy, rows.columns["test_accuracy"])
    torch.testing.assert_close(found.loss, rows.columns["test_loss"])


def test_training_helps(tmp_path: Path, labelled: Signals) -> None:
    fit = Classifier(Mlp((16,)), runs=3, snapshots=(0.0, 1.0), learning_rate=0.01, steps=200)
    frame = generated(fit, labelled, tmp_path).frame()
    assert frame["test_accuracy"][0::2].max() < 0.4
    assert frame["test_accuracy"][1::2].min() > 0.85


def test_some_images_speak_for_a_part_whose_images_lie_by_class(
    tmp_path: Path, labelled: Signals
) -> None:
    order = np.lexsort([labelled.columns["label"], labelled.part])
    columns = {"label": labelled.columns["label"][order]}
    by_class = replace(
        labelled, values=labelled.values[order], part=labelled.part[order], columns=columns
    )
    fit = Classifier(Mlp((16,)), runs=3, learning_rate=0.01, steps=40)
    every = generated(fit, by_class, tmp_path).frame()
    some = generated(replace(fit, evaluation_images=150), by_class, tmp_path).frame()
    for name in ("train_accuracy", "test_accuracy"):
        assert (every[name] - some[name]).abs().max() < 0.06


def test_a_part_that_is_used_whole_keeps_its_order() -> None:
    assert evaluated(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_zoos_of_classifiers_that_were_scored_otherwise_are_other_zoos(
    classifier_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = classifier_recipe.hash8
    monkeypatch.setattr(Classifier, "format", 1)
    assert classifier_recipe.hash8 != now


@pytest.mark.parametrize("network", [Mlp((6,)), Cnn((4, 3))], ids=["mlp", "cnn"])
def test_networks_of_pairs_are_evaluated_on_their_own_classes(
    tmp_path: Path, labelled: Signals, network: Mlp | Cnn
) -> None:
    fit = Classifier(network, runs=4, classes="pairs", learning_rate=0.02, steps=60)
    fit = replace(fit, evaluation_images=10_000, init_scale=1.0)
    zoo = generated(fit, labelled, tmp_path)
    rows, images = zoo.rows(0, 4), LabelledImages.of(labelled)
    assert zoo.space.shapes[zoo.space.names[-1]] == (2,)
    assert (rows.columns["class_a"] < rows.columns["class_b"]).all()
    pixels = images.take(images.test).reshape(-1, 1, 8, 8)
    found = zoo.evaluate(rows, pixels, images.label[images.test])
    torch.testing.assert_close(found.accuracy, rows.columns["test_accuracy"])
    assert found.accuracy.mean() > 0.8
    strangers = np.setdiff1d(range(10), [*rows.columns["class_a"], *rows.columns["class_b"]])
    none = np.full(len(pixels), strangers[0])
    assert zoo.evaluate(rows, pixels, none).loss.isnan().all()


def test_a_zoo_of_cnns_opens_with_its_axes(tmp_path: Path, labelled: Signals) -> None:
    fit = Classifier(Cnn((4, 3)), runs=3, steps=2)
    zoo = generated(fit, labelled, tmp_path)
    assert zoo.space == fit.space((1, 8, 8), 10)
    assert zoo.space.axes["W2"] == ("n2", "n1", "taps2")
    assert zoo.maker == fit


def test_the_networks_of_unterthiner_have_4970_weights() -> None:
    assert Classifier(Cnn((16, 16, 16)), runs=1).space((1, 32, 32), 10).size == 4970


def test_a_run_that_diverges_is_marked_and_kept(tmp_path: Path, labelled: Signals) -> None:
    fit = Classifier(Mlp((6,)), runs=3, optimizer="sgd", learning_rate=1e30, steps=10)
    frame = generated(replace(fit, snapshots=(0.0, 1.0)), labelled, tmp_path).frame()
    assert frame["status"].tolist() == ["ok", "diverged"] * 3
    assert frame["test_accuracy"].isna().tolist() == [False, True] * 3


def test_classifiers_are_not_drawn(zoo: ZooReader) -> None:
    with pytest.raises(ZooError, match="holds classifiers, which draw nothing; `evaluate` gives"):
        zoo.draw(0, np.zeros((3, 2), np.float32))


def test_what_is_read_is_how_they_were_trained(zoo: ZooReader, classifier_recipe: Recipe) -> None:
    assert zoo.maker == classifier_recipe.zoo.fit
    assert zoo.forward_pass.activation is None


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("network", [Mlp((6,)), Cnn((4, 3))], ids=["mlp", "cnn"])
def test_out_and_in_again_keeps_weights_and_columns(
    tmp_path: Path, labelled: Signals, network: Mlp | Cnn, kind: str
) -> None:
    fit = Classifier(network, runs=4, activation=Draw(choice=("relu", "tanh")), steps=2)
    zoo = generated(fit, labelled, tmp_path)
    out = tmp_path / ("out" if kind == "pth" else "out.safetensors")
    export_zoo(zoo, out, kind)
    labels = out / "labels.csv" if kind == "pth" else None
    source = open_source("folder" if kind == "pth" else "safetensors", out, labels)
    job = Import(zoo.store, "back", source, Split(1, 1, 1))
    job.run()
    back = ZooReader(zoo.store, job.folder)
    assert torch.equal(back.theta(), zoo.theta())
    names = ["test_accuracy", "learning_rate", *(["activation"] if kind == "pth" else [])]
    for name in names:
        np.testing.assert_array_equal(back.columns()[name], zoo.columns()[name])


def test_every_setting_but_the_number_of_runs_changes_the_hash(labelled: Signals) -> None:
    fit = Classifier(Mlp((6,)), runs=9)
    changed = {
        "network": Mlp((7,)),
        "snapshots": (0.5,),
        "batch_size": 7,
        "evaluation_images": 7,
        "classes": "pairs",
        "optimizer": "sgd",
        "learning_rate": Draw(uniform=(0.1, 0.2)),
        "weight_decay": 0.1,
        "init_scale": 0.1,
        "activation": "tanh",
        "dropout": 0.1,
        "label_noise": 0.1,
        "fraction": 0.1,
        "steps": 7,
    }
    assert set(changed) | {"runs", "kind"} == set(asdict(fit))
    fits = [fit, *(replace(fit, **{name: value}) for name, value in changed.items())]
    hashes = {Recipe.of("a", Digits(), labelled, some_zoo(f), 5).hash8 for f in fits}
    assert len(hashes) == len(fits)
    more = Recipe.of("a", Digits(), labelled, some_zoo(fit, runs=90), 5)
    assert more.hash8 == Recipe.of("a", Digits(), labelled, some_zoo(fit), 5).hash8


def test_the_hash_is_stable() -> None:
    recipe = Recipe("name", {"kind": "idx"}, "fingerprint", 10, some_zoo(Classifier(Mlp((6,)), 9)))
    assert recipe.hash8 == "3e95dda2"


def test_a_limit_is_the_first_runs(labelled: Signals) -> None:
    zoo = some_zoo(Classifier(Mlp((6,)), runs=9))
    recipe = Recipe.of("a", Digits(), labelled, zoo, 5)
    assert (recipe.signals, recipe.members) == (5, 5)
    with pytest.raises(ConfigError, match=r"limit: got 10, expected 1 to 9 \(zoo.fit.runs"):
        Recipe.of("a", Digits(), labelled, zoo, 10)


def test_a_source_without_images_labels_or_test_part_is_refused(labelled: Signals) -> None:
    zoo = some_zoo(Classifier(Mlp((6,)), runs=9))
    for signals, message in (
        (Digits().load(), "the source has no train and no test part of its own; use one"),
        (replace(labelled, columns={}), "the source gives no labels"),
        (Sine(points=5, count=9).load(), "the source gives no images"),
    ):
        with pytest.raises(ConfigError, match=message):
            Recipe.of("a", Digits(), signals, zoo)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": 2}, "views: got 2, but the rows of a run of classifiers are its 3 snapshot"),
        ({"rows_per_shard": 10}, "rows_per_shard: got 10, expected a multiple of the 3 snapshots"),
    ],
)
def test_rows_are_whole_runs(changes: dict[str, int], message: str) -> None:
    fit = Classifier(Mlp((6,)), runs=9, snapshots=(0.1, 0.5, 1.0))
    with pytest.raises(ConfigError, match=message):
        Zoo(fit, Split(1, 1, 1), **changes)


def test_an_empty_split_of_runs_is_told_as_such(labelled: Signals) -> None:
    zoo = some_zoo(Classifier(Mlp((6,)), runs=2))
    with pytest.raises(ConfigError, match=r"2 runs leave the test split empty .* use more runs"):
        Recipe.of("a", Digits(), labelled, zoo)
