"""A zoo as one page: no scripts, nothing loaded from elsewhere, every text of the zoo escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import numpy.typing as npt
import torch

from pipeline.inspect.charts import histogram, scatter
from pipeline.inspect.gallery import bar, gallery
from pipeline.inspect.pictures import data_uri, signed_pixels
from pipeline.inspect.places import MARK
from pipeline.inspect.sheets import Sheet, measured, plain, sheets, size
from pipeline.inspect.style import CSS
from pipeline.inspect.targets import Targets
from zoo_gen.health import Health
from zoo_gen.verdict import Finding

OUTCOME = "test_accuracy"
RESULTS = {"loss", "psnr", "train_accuracy", "train_loss", "test_loss", OUTCOME}
PORTRAITS = 4  # networks whose weights are shown
MOST_SIDE = 1024
MOST_PIXELS = 100_000  # of one network: four of them stay below 1.5 MB
MOST_WEIGHTS = 200_000  # in a histogram
ROOM = 12  # figures of the page's own size
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(health: Health, found: list[Finding], targets: Targets) -> str:
    """The whole page as HTML."""
    recipe = health.zoo.description["recipe"]
    name = escape(plain(f"{recipe.get('name', 'zoo')}-{health.zoo.hash8}"))
    tables = {sheet.title: sheet for sheet in sheets(health)}
    parts = [_verdict(found), _section("Zoo", _table(tables["zoo"]))]
    counted = [tables[title] for title in ("counts", "columns", "text") if title in tables]
    parts.append(
        _section(
            "Networks", "".join(f"<h3>{s.title.capitalize()}</h3>{_table(s)}" for s in counted)
        )
    )
    if health.ok:
        parts.append(_section("What the networks draw", gallery(health, targets)))
        parts.append(_section("Distributions", _cards(_histograms(health))))
        if charts := list(_scatters(health)):
            parts.append(_section("Hyper-parameters and test accuracy", _cards(charts)))
        parts.append(_section("Weights", _weights(health, tables["weights per tensor"])))
    parts.append(_section("Recipe", _table(tables["recipe"])))
    body = "\n".join(parts)
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n{MARK}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}, a zoo</title>\n<style>{CSS}</style></head>\n"
        f"<body><header><h1>{name}</h1></header>\n<main>{body}</main>\n"
        f"<footer>Written by dwszoo inspect. This page holds {'':{ROOM}}.</footer></body></html>\n"
    )
    return text.replace(f"{'':{ROOM}}", f"{size(len(text.encode())):>{ROOM}}")


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _cards(charts: list[str]) -> str:
    figures = "".join(f'<figure class="card">{chart}</figure>' for chart in charts)
    return f'<div class="cards">{figures}</div>'


def _verdict(found: list[Finding]) -> str:
    if not found:
        return '<div class="verdict healthy"><strong>healthy</strong></div>'
    lines = "".join(f"<li>{escape(plain(finding))}</li>" for finding in found)
    return f'<div class="verdict"><strong>look at this</strong><ul>{lines}</ul></div>'


def _table(sheet: Sheet) -> str:
    notes = "".join(f"<p>{escape(note)}</p>" for note in sheet.notes)
    if sheet.header is None:
        pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in sheet.rows)
        return f"<dl>{pairs}</dl>{notes}"
    text = [' class="text"' if h in ("most frequent", "fingerprint") else "" for h in sheet.header]
    head = "".join(f'<th scope="col"{t}>{h}</th>' for h, t in zip(sheet.header, text, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{t}>{escape(c)}</td>' for c, t in zip(row, text, strict=True))}</tr>"
        for row in sheet.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{sheet.title}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}"
    )


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


def _weights(health: Health, table: Sheet) -> str:
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
        f"{_table(table)}<h3>Histograms</h3>{_cards(charts)}<h3>Pictures of members {told}</h3>"
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
