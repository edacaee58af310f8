"""A zoo as one page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pipeline.views.charts import Chart, histogram, scatter
from pipeline.views.gallery import zoo_gallery
from pipeline.views.html import render
from pipeline.views.images import data_uri, signed_pixels
from pipeline.views.targets import Targets
from pipeline.views.text_table import printable
from pipeline.views.zoo_tables import measured, zoo_tables
from zoo_gen.health.health import Health
from zoo_gen.health.verdict import Finding

OUTCOME = "test_accuracy"
RESULTS = {"loss", "psnr", "train_accuracy", "train_loss", "test_loss", OUTCOME}
PORTRAITS = 4  # networks whose weights are shown
MOST_SIDE = 1024
MOST_PIXELS = 100_000  # of one network: four of them stay below 1.5 MB
MOST_WEIGHTS = 200_000  # in a histogram


def page(health: Health, findings: list[Finding], targets: Targets) -> str:
    """The whole page as HTML."""
    recipe = health.zoo.description["recipe"]
    name = printable(f"{recipe.get('name', 'zoo')}-{health.zoo.hash8}")
    values: dict[str, Any] = dict.fromkeys(("drawn", "distributions", "scatters", "weights"))
    if health.ok:
        values["drawn"] = zoo_gallery(health, targets)
        values["distributions"] = _histograms(health)
        values["scatters"] = list(_scatters(health))
        values["weights"] = _weights(health)
    return render(
        "zoo.html",
        "inspect",
        name,
        f"{name}, a zoo",
        findings=findings,
        tables={sheet.title: sheet for sheet in zoo_tables(health)},
        **values,
    )


def _histograms(health: Health) -> list[Chart]:
    """Of every column of numbers that varies."""
    sample = health.sample.columns
    known = {
        title: sample[name][np.isfinite(sample[name])].astype(float)
        for name, title in measured(health).items()
        if health.numbers[name].low < health.numbers[name].high
    }
    return [histogram(values, title) for title, values in known.items() if len(values)]


def _scatters(health: Health) -> Iterator[Chart]:
    """Test accuracy against every other column that varies, where networks have one."""
    sample = health.sample.columns
    moments = health.numbers.get(OUTCOME)
    if moments is None or not moments.count:
        return
    outcome = sample[OUTCOME].astype(float)
    for name, values in sample.items():
        if name in RESULTS or name in ("member", "signal", "view", "split"):
            continue
        text = values.dtype.kind == "U"
        known = np.isfinite(outcome) & ((values != "") if text else np.isfinite(values))
        if len(np.unique(values[known])) > 1:
            yield scatter(values[known], outcome[known], (printable(name), OUTCOME))


def _weights(health: Health) -> dict[str, Any]:
    """Histograms and pictures of every tensor."""
    theta, members = health.weights.columns["theta"], health.weights.columns["member"]
    split = health.zoo.space.split(torch.from_numpy(theta))
    charts = []
    for name, x in split.items():
        values = x.reshape(-1).numpy()
        values = values[:: -(-len(values) // MOST_WEIGHTS)]
        values = values[np.isfinite(values)].astype(float)
        if len(values):
            charts.append(histogram(values, name, f"weights of {len(theta):,} networks"))
    space = health.zoo.space
    most = space.size if space.size <= MOST_PIXELS else MOST_PIXELS // len(space.names)
    few = np.linspace(0, len(theta) - 1, min(PORTRAITS, len(theta))).astype(int)
    return {
        "histograms": charts,
        "members": members[few].tolist(),
        "pictures": [_pictures(name, x[few, ..., 0], most) for name, x in split.items()],
    }


def _pictures(name: str, x: torch.Tensor, most: int) -> dict[str, Any]:
    """One tensor of a few networks ``[m, *shape]`` as pictures of one scale, of ``most`` pixels."""
    matrices = x.reshape(len(x), x.shape[1], -1)
    transposed = matrices.shape[1] > matrices.shape[2]
    if transposed:
        matrices = matrices.mT
    whole = tuple(matrices.shape[1:])
    matrices = matrices[:, :, :MOST_SIDE]
    matrices = matrices[:, : max(1, most // matrices.shape[2])]
    values = matrices.numpy()
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(finite, 0.995)) if len(finite) else 1.0
    height, width = values.shape[1:]
    shape = "x".join(map(str, x.shape[1:])) + (", transposed" if transposed else "")
    if whole != (height, width):
        shape += f", the first {height}x{width} of {whole[0]}x{whole[1]}"
    return {
        "name": name,
        "shape": shape,
        "limit": limit,
        "width": width * max(1, min(14, 240 // max(height, width))),
        "uris": [data_uri(signed_pixels(matrix, limit)) for matrix in values],
    }
