"""Pictures of what models of a task have learned: embeddings, edited images, neighbours, errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.experiment import Experiment
from pipeline.views.plots import png
from training import results
from training.jobs import TrainingJob
from training.tasks import Contrast, Edit, TaskData
from training.train_job import job_data, trained
from zoo_gen import ZooReader
from zoo_gen.sources.base import grid

SHOWN = 8  # networks of a grid
SIDE = 28  # pixels, where a zoo does not say how large its images are
Image = npt.NDArray[Any]
Picture = tuple[str, bytes]


def task_plots(experiment: Experiment) -> dict[str, Picture]:
    """File name -> caption and PNG; each model with its first seed, nothing for other tasks."""
    draw = PLOTS.get(experiment.config.task_or_default.kind)
    return {} if draw is None else draw(experiment)


def first_jobs(experiment: Experiment) -> list[TrainingJob]:
    """The first seed of each model, on the most training networks."""
    found: dict[str, TrainingJob] = {}
    for job in experiment.jobs:
        if job.seed == experiment.config.seeds[0]:
            best = found.get(job.model)
            if best is None or (job.networks or 0) > (best.networks or 0):
                found[job.model] = job
    return list(found.values())


def values(experiment: Experiment) -> dict[str, Picture]:
    """Predicted against true values of test networks, for each model."""
    from matplotlib.figure import Figure

    jobs = first_jobs(experiment)
    names = experiment.config.task_or_default.needs
    figure = Figure(figsize=(2.4 * len(jobs), 2.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(jobs), squeeze=False, sharex="row", sharey="row")
    for k, job in enumerate(jobs):
        data, _ = job_data(experiment.environment.store, job)
        true = data.target[data.rows["test"]].numpy()
        predicted = np.array(results.read(experiment.environment.store, job).predictions).reshape(
            true.shape
        )
        for i, name in enumerate(names):
            place, low, high = axes[i, k], true[:, i].min(), true[:, i].max()
            place.plot([low, high], [low, high], color="gray", linewidth=1)
            place.plot(true[:, i], predicted[:, i], ".", markersize=3, alpha=0.6)
            margin = 0.3 * (high - low)
            place.set_ylim(low - margin, high + margin)
            place.set_title(job.model if i == 0 else "", fontsize=9)
            place.set_xlabel(f"true {name}", fontsize=8)
        axes[0, k].tick_params(labelsize=7)
    axes[0, 0].set_ylabel("predicted")
    return {"values.png": ("Predicted and true values of test networks", png(figure))}


def embeddings(experiment: Experiment) -> dict[str, Picture]:
    """Two principal components of the test networks' embeddings, coloured by each column."""
    from matplotlib.figure import Figure

    task = experiment.config.task_or_default
    assert isinstance(task, Contrast)
    jobs, names = first_jobs(experiment), task.columns
    figure = Figure(figsize=(2.6 * len(jobs), 2.4 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(jobs), squeeze=False)
    for k, job in enumerate(jobs):
        data, _ = job_data(experiment.environment.store, job)
        plane = principal(torch.tensor(results.read(experiment.environment.store, job).predictions))
        target = data.target[data.rows["test"]].numpy()
        for i, name in enumerate(names):
            place = axes[i, k]
            dots = place.scatter(*plane.T, c=target[:, i], s=4, cmap="viridis")
            place.set_xticks([]), place.set_yticks([])
            place.set_title(job.model if i == 0 else "", fontsize=9)
            if k == len(jobs) - 1:
                figure.colorbar(dots, ax=place, label=name)
    caption = "Embeddings of test networks in their principal plane, coloured by each column"
    return {"embedding.png": (caption, png(figure))}


def principal(embedding: torch.Tensor) -> Image:
    """Two principal components ``[n, 2]`` of embeddings ``[n, k]``; the sign is fixed."""
    centred = (embedding - embedding.mean(0)).double()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    two = axes[:2]
    two = two * two.gather(1, two.abs().argmax(1, keepdim=True)).sign()
    return np.asarray((centred @ two.T).float())


def edits(experiment: Experiment) -> dict[str, Picture]:
    """Rows of images: drawn by test networks, wanted, and drawn by each model's changed ones."""
    task = experiment.config.task_or_default
    assert isinstance(task, Edit)
    rows: dict[str, Image] = {}
    for job in first_jobs(experiment):
        model, data, _ = trained(experiment.environment.store, job)
        shown = task.shown(data, model, data.rows["test"][:SHOWN])
        if not rows:
            rows = {"input": shown["drawn"].numpy(), "wanted": shown["wanted"].numpy()}
        rows[job.model] = shown["changed"].numpy()
    return {"edits.png": ("Input, what is wanted, and what each model makes", image_rows(rows))}


def neighbours(experiment: Experiment) -> dict[str, Picture]:
    """For each model: test networks, and the training networks nearest to each, drawn."""
    jobs, pictures = first_jobs(experiment), {}
    for job in jobs:
        data, zoo = job_data(experiment.environment.store, job)
        if zoo.forward_pass.activation is None or zoo.space.widths[0] != 2:
            return {}
        found = results.read(experiment.environment.store, job).predictions
        # one network of each of the first classes
        queries = first_of_classes(data)
        rows = {}
        for query in queries:
            members = [int(data.member[data.rows["test"][query]]), *found[query][:SHOWN]]
            rows[f"class {int(data.target[data.rows['test'][query]])}"] = drawn(
                experiment, zoo, data, members
            )
        caption = f"{job.model}: test networks (left) and their nearest training networks"
        pictures[f"neighbours-{job.model}.png"] = caption, image_rows(rows)
    return pictures


def first_of_classes(data: TaskData) -> list[int]:
    """Positions in the test split of the first network of each class, of eight classes at most."""
    label = data.target[data.rows["test"]].tolist()
    return [label.index(k) for k in sorted(set(label))[:SHOWN]]


def drawn(experiment: Experiment, zoo: ZooReader, data: TaskData, members: list[int]) -> Image:
    """What members of a zoo draw, ``[k, height, width, colours]``."""
    shape = (SIDE, SIDE)
    if experiment.config.zoo is not None and experiment.signals.shape is not None:
        shape = experiment.signals.shape
    place = {int(m): i for i, m in enumerate(data.member.tolist())}
    # the weights as they are in the zoo: alignment changes no picture, and canonical forms neither
    theta = data.theta[[place[m] for m in members]]
    with torch.no_grad():
        return np.asarray(zoo.render(theta, grid(*shape)).unflatten(1, shape))


def image_rows(rows: Mapping[str, Image]) -> bytes:
    """Images in named rows as PNG; values are cut to [0, 1]."""
    from matplotlib.figure import Figure

    lists = {name: list(images) for name, images in rows.items()}
    count = max(map(len, lists.values()))
    figure = Figure(figsize=(0.8 * count + 1.3, 0.85 * len(lists)), layout="constrained")
    axes = figure.subplots(len(lists), count, squeeze=False)
    for places, (name, images) in zip(axes, lists.items(), strict=True):
        for place, image in zip(places, images, strict=False):
            gray: Any = image[..., 0] if image.shape[-1] == 1 else image[..., :3]
            place.imshow(np.clip(gray, 0, 1), cmap="gray", vmin=0, vmax=1)
        for place in places:
            place.axis("off")
        places[0].axis("on")
        places[0].set_xticks([]), places[0].set_yticks([])
        places[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return png(figure)


PLOTS: dict[str, Callable[[Experiment], dict[str, Picture]]] = {
    "regress": values,
    "predict-accuracy": values,
    "contrast": embeddings,
    "edit": edits,
    "retrieve": neighbours,
}
