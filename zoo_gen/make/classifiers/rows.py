"""The rows of a shard of classifiers: the columns of the contract, and how well each does."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from zoo_gen.make.classifiers.runs import ClassifierRun, dealt_pair, draw_run
from zoo_gen.make.classifiers.train import train
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.recipe.classifier import HYPERPARAMETERS, PAIR, RUN_STEPS, Classifier
from zoo_gen.recipe.recipe import Recipe
from zoo_gen.recipe.scores import Scores, accuracy
from zoo_gen.sources.labelled import LabelledImages, Rows
from zoo_gen.zoo.shards import Columns


def trained_members(
    fit: Classifier, job: ShardJob, members: Rows, progress: Progress
) -> tuple[Columns, dict[str, Any]]:
    """Classifiers that are trained and evaluated, as `zoo_gen.make.members.Make`."""
    recipe, signals = job.recipe, job.signals
    images, snapshots = LabelledImages.of(signals), len(fit.snapshots)
    numbers = members[::snapshots] // snapshots
    runs = [the_run(recipe, fit, images, int(number)) for number in numbers]
    # most of the work is training; the last of each run counts once it is evaluated
    theta = train(fit, runs, images, lambda done: progress(done * (snapshots - 1)))
    found = []
    for run, weights in zip(runs, theta, strict=True):
        found.append(_scores(fit, run, weights, images))
        progress(1)
    scores = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    flat = theta.flatten(0, 1).numpy()
    good = np.isfinite(flat).all(1) & np.isfinite(scores["loss"])
    steps = np.array([run.snapshot_steps(fit.snapshots) for run in runs])
    columns: Columns = {
        "member": members,
        "signal": members // snapshots,
        "view": (members % snapshots).astype(np.int32),
        "split": job.assigned[members // snapshots],
        "seed": np.repeat(np.array([run.seed for run in runs], np.int64), snapshots),
        "theta": flat,
        "loss": scores.pop("loss"),
        "psnr": np.full(len(members), np.nan, np.float32),
        "steps": steps.reshape(-1).astype(np.int32),
        "status": np.where(good, "ok", "diverged"),
        **scores,
        **{name: np.repeat(column, snapshots) for name, column in _settings(runs).items()},
    }
    return columns, {}


def the_run(recipe: Recipe, fit: Classifier, images: LabelledImages, number: int) -> ClassifierRun:
    """A run of a zoo: a function of the recipe and its number alone."""
    pair = None
    if fit.classes == "pairs":
        classes = np.unique(images.label[images.train]).tolist()
        pair = dealt_pair(classes, recipe.zoo.seed, number)
    return draw_run(fit, recipe.member_seed(number), pair)


def _scores(fit: Classifier, run: ClassifierRun, theta: Tensor, images: LabelledImages) -> Columns:
    """Of the snapshots of one run, each ``[snapshots]``."""
    space = fit.space(images.shape, images.classes)

    def score(rows: Rows, label: Rows) -> Scores:
        some = evaluated(len(rows), fit.evaluation_images)
        rows, label = rows[some], label[some]
        if not len(rows):
            return Scores.unknown(len(theta))
        pixels = images.take(rows).reshape(-1, *images.shape)
        return accuracy(fit.network, space, theta, pixels, label, str(run.settings["activation"]))

    columns: Columns = {"loss": score(*run.training(images)).loss.numpy()}
    for name, part in (("train", images.train), ("test", images.test)):
        found = score(*run.images(images, part))
        columns[f"{name}_accuracy"] = found.accuracy.numpy()
        columns[f"{name}_loss"] = found.loss.numpy()
    return columns


def evaluated(images: int, most: int) -> Rows:
    """Positions of so many of the images of a part, in order; all where there are no more.

    They are random, because a source may have its images in the order of their classes, and the
    same for every run, so that scores of runs compare.
    """
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng([*b"evaluation"]).permutation(images)[:most])


def _settings(runs: list[ClassifierRun]) -> Columns:
    """What was drawn for each run, ``[runs]``."""
    columns: Columns = {}
    for name in HYPERPARAMETERS:
        values = [run.settings[name] for run in runs]
        if name == "steps":
            columns[RUN_STEPS] = np.array(values, np.int64)
        elif isinstance(values[0], str):
            columns[name] = np.array(values)
        else:
            columns[name] = np.array(values, np.float32)
    if runs[0].pair is not None:
        for i, name in enumerate(PAIR):
            columns[name] = np.array([run.pair[i] for run in runs if run.pair], np.int64)
    return columns
