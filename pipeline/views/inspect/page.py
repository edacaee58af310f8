"""A zoo as one page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from pipeline.views.inspect.gallery import bar, gallery
from pipeline.views.inspect.sheets import measured, sheets
from pipeline.views.inspect.targets import Targets
from pipeline.views.pages.charts import histogram, scatter
from pipeline.views.pages.frame import cards, document, section, table, verdict
from pipeline.views.pages.pictures import data_uri, signed_pixels
from pipeline.views.pages.sheet import Sheet, plain
from zoo_gen.health.health import Health
from zoo_gen.health.verdict import Finding

OUTCOME = "test_accuracy"
RESULTS = {"loss", "psnr", "train_accuracy", "train_loss", "test_loss", OUTCOME}
PORTRAITS = 4  # networks whose weights are shown
MOST_SIDE = 1024
MOST_PIXELS = 100_000  # of one network: four of them stay below 1.5 MB
MOST_WEIGHTS = 200_000  # in a histogram


def page(health: Health, found: list[Finding], targets: Targets) -> str:
    """The whole page as HTML."""
    recipe = health.zoo.description["recipe"]
    name = plain(f"{recipe.get('name', 'zoo')}-{health.zoo.hash8}")
    tables = {sheet.title: sheet for sheet in sheets(health)}
    parts = [verdict(found), section("Zoo", table(tables["zoo"]))]
    counted = [tables[title] for title in ("counts", "columns", "text") if title in tables]
    parts.append(
        section("Networks", "".join(f"<h3>{s.title.capitalize()}</h3>{table(s)}" for s in counted))
    )
    if health.ok:
        parts.append(section("What the networks draw", gallery(health, targets)))
        parts.append(section("Distributions", cards(_histograms(health))))
        if charts := list(_scatters(health)):
            parts.append(section("Hyper-parameters and test accuracy", cards(charts)))
        parts.append(section("Weights", _weights(health, tables["weights per tensor"])))
    parts.append(section("Recipe", table(tables["recipe"])))
    return document(name, f"{name}, a zoo", "inspect", parts)


def _histograms(health: Health) -> list[str]:
    """Of every column of numbers that varies."""
    sample = health.sample.columns
    known = {
        title: sample[name][np.isfinite(sample[name])].astype(float)
        for name, title in measured(health).items()
        if health.numbers[name].low < health.numbers[name].high
    }
    return [histogram(values, title) for title, values in known.items() if len(values)]


def _scatters(health: Health) -> Iterator[str]:
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
            yield scatter(values[known], outcome[known], (plain(name), OUTCOME))


def _weights(health: Health, sheet: Sheet) -> str:
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
    pictures = "".join(_portraits(n, x[few, ..., 0], members[few], most) for n, x in split.items())
    told = ", ".join(str(m) for m in members[few])
    return (
        f"{table(sheet)}<h3>Histograms</h3>{cards(charts)}<h3>Pictures of members {told}</h3>"
        "<p>A row per neuron, a column per input of it; turned where that is broader.</p>"
        f"{pictures}"
    )


def _portraits(name: str, x: torch.Tensor, members: npt.NDArray[np.int64], most: int) -> str:
    """One tensor of a few networks ``[m, *shape]`` as pictures of one scale, of ``most`` pixels."""
    matrices = x.reshape(len(x), x.shape[1], -1)
    turned = matrices.shape[1] > matrices.shape[2]
    if turned:
        matrices = matrices.mT
    whole = tuple(matrices.shape[1:])
    matrices = matrices[:, :, :MOST_SIDE]
    matrices = matrices[:, : max(1, most // matrices.shape[2])]
    values = matrices.numpy()
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(finite, 0.995)) if len(finite) else 1.0
    height, width = values.shape[1:]
    scale = max(1, min(14, 240 // max(height, width)))
    pictures = "".join(
        f'<img src="{data_uri(signed_pixels(matrix, limit))}" width="{width * scale}" '
        f'alt="{name} of member {member}">'
        for matrix, member in zip(values, members, strict=True)
    )
    shape = "x".join(map(str, x.shape[1:])) + (", turned" if turned else "")
    if whole != (height, width):
        shape += f", the first {height}x{width} of {whole[0]}x{whole[1]}"
    return (
        f'<h4 class="bar">{name} ({shape})</h4>{bar("weights", limit)}'
        f'<div class="weights">{pictures}</div>'
    )
