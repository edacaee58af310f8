"""What some networks of a zoo draw, beside what they should draw."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.views.inspect.targets import Targets
from pipeline.views.pages.charts import curves
from pipeline.views.pages.pictures import (
    Array,
    Pixels,
    data_uri,
    distance_pixels,
    plain_pixels,
    scale_bar,
    signed_pixels,
)
from pipeline.views.pages.sheet import number, plain
from zoo_gen import ZooReader
from zoo_gen.health.health import Health

SHOWN = 10  # beside the best and the worst
SIDE = 64  # pixels of a drawing whose own grid is not known
CURVE_POINTS = 400
Kind = Literal["image", "distance", "curve"]


@dataclass(frozen=True)
class Drawing:
    """One network on a grid.

    Attributes:
        caption: who it is and how well it fits.
        drawn: ``[h, w, c]``, or ``[points, c]`` of a function of one variable.
        target: the same of its signal, None where that is not known.
    """

    caption: str
    drawn: Array
    target: Array | None


@dataclass(frozen=True)
class View:
    """Where networks are drawn.

    Attributes:
        kind: how the values are shown.
        points: ``[points, d_in]``.
        shape: (height, width) of the points, None of a function of one variable.
        rows: which points of the signals these are, None where they are none of them.
        note: a sentence about it.
    """

    kind: Kind
    points: Array
    shape: tuple[int, int] | None
    rows: npt.NDArray[np.int64] | None
    note: str


def gallery(health: Health, targets: Targets) -> str:
    """Figures as HTML; a sentence where these networks cannot be drawn."""
    maker = health.zoo.maker
    if maker is not None and not maker.coordinates:
        return f"<p>These networks are {maker.members_are}: they draw nothing.</p>"
    if health.flat is None:
        return "<p>What these networks compute is not a picture or a curve, or is not known.</p>"
    drawn = figures(health.zoo, targets, _chosen(health))
    return drawn or "<p>These networks take or give too many numbers to be drawn.</p>"


def figures(zoo: ZooReader, targets: Targets, chosen: list[tuple[int, str]]) -> str | None:
    """Figures of some networks as HTML; None where they cannot be drawn.

    Args:
        zoo: of the networks.
        targets: what they should draw.
        chosen: members, each with a remark for its caption.
    """
    drawn = drawn_by(zoo, targets, chosen)
    if drawn is None:
        return None
    view, drawings = drawn
    told = " ".join(text for text in (view.note, targets.note) if text)
    shown = _curves(drawings, view) if view.kind == "curve" else _images(drawings, view)
    return f"<p>{escape(told)}</p>{shown}"


def drawn_by(
    zoo: ZooReader, targets: Targets, chosen: list[tuple[int, str]]
) -> tuple[View, list[Drawing]] | None:
    """The same as arrays, and where they are drawn."""
    view = _view(zoo, targets) if zoo.forward_pass.activation is not None else None
    if view is None:
        return None
    return view, [_draw(zoo, member, why, view, targets) for member, why in chosen]


def _chosen(health: Health) -> list[tuple[int, str]]:
    """Members evenly spaced over those that are ok, the best and the worst, each with a remark."""
    members = health.weights.columns.get("member", np.zeros(0, np.int64))
    even = np.linspace(0, len(members) - 1, min(SHOWN, len(members))).astype(int)
    chosen = {int(members[i]): "" for i in even}
    if health.best and health.worst:
        chosen |= {health.best[0]: "lowest loss", health.worst[0]: "highest loss"}
    return sorted(chosen.items())


def _view(zoo: ZooReader, targets: Targets) -> View | None:
    names, shapes = zoo.space.names, zoo.space.shapes
    inputs, outputs = shapes[names[0]][-1], shapes[names[-1]][0]
    signals, source = targets.signals, zoo.description["recipe"]["source"]
    if inputs > 3 or outputs not in (1, 3) or (inputs != 2 and outputs != 1):
        return None
    field = isinstance(source, dict) and source.get("field") == "sdf"
    kind: Kind = "curve" if inputs == 1 else "distance" if field else "image"
    if signals is not None and inputs == 1:
        rows = np.unique(np.linspace(0, len(signals.coordinates) - 1, CURVE_POINTS).astype(int))
        return View(kind, signals.coordinates[rows], None, rows, "")
    if signals is not None and inputs == 2 and signals.shape:
        every = np.arange(len(signals.coordinates))
        return View(kind, signals.coordinates, signals.shape, every, "")
    if signals is not None and inputs == 3:
        n = round(len(signals.coordinates) ** (1 / 3))
        rows = np.arange(n**3).reshape(n, n, n)[n // 2].reshape(-1)
        note = "The middle slice of each solid, across its first axis."
        return View(kind, signals.coordinates[rows], (n, n), rows, note)
    return _own_view(kind, inputs)


def _own_view(kind: Kind, inputs: int) -> View:
    """Over [-1, 1], where the points of the signals are not known."""
    if inputs == 1:
        line = np.linspace(-1, 1, CURVE_POINTS, dtype=np.float32)[:, None]
        return View(kind, line, None, None, "Drawn over [-1, 1].")
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    if inputs == 3:
        grid = np.concatenate([np.zeros((len(grid), 1), np.float32), grid], 1)
    note = f"Drawn at {SIDE}x{SIDE} points of [-1, 1]²{', in the middle' if inputs == 3 else ''}."
    return View(kind, grid, (SIDE, SIDE), None, note)


def _draw(zoo: ZooReader, member: int, why: str, view: View, targets: Targets) -> Drawing:
    rows = zoo.rows(member, member + 1)
    drawn = zoo.render(rows.theta, view.points)[0].numpy()
    if view.kind == "image" and (low := zoo.forward_pass.low):
        drawn = (drawn - low) / (1 - low)  # pages show pixels from 0, black, to 1
    signal = rows.columns["signal"][0]
    target = targets.of(int(signal)) if view.rows is not None else None
    if target is not None and view.rows is not None:
        target = target[view.rows]
    shape = (len(drawn),) if view.shape is None else view.shape
    return Drawing(
        _caption(member, why, rows.columns),
        drawn.reshape(*shape, -1),
        None if target is None else target.reshape(*shape, -1),
    )


def _caption(member: int, why: str, columns: dict[str, Any]) -> str:
    parts = [f"member {member}", plain(columns["split"][0])]
    label = columns.get("label")
    if label is not None:
        parts.append(f"label {plain(label[0].item())}")
    for name, form in (("psnr", "{:.1f} dB"), ("loss", "loss {:.2g}")):
        value = float(columns[name][0])
        if np.isfinite(value):
            parts.append(form.format(value))
            break
    return ", ".join(part for part in [*parts, why] if part)


def _images(drawings: list[Drawing], view: View) -> str:
    limit = _limit([x for d in drawings for x in (d.drawn, d.target) if x is not None])
    apart = _limit([d.target - d.drawn for d in drawings if d.target is not None])
    signed = view.kind == "distance"

    def shown(values: Array) -> Pixels:
        return distance_pixels(values[..., 0], limit) if signed else plain_pixels(values)

    cards = []
    for d in drawings:
        pictures = [("network", shown(d.drawn))]
        if d.target is not None:
            difference = signed_pixels((d.target - d.drawn).mean(-1), apart)
            pictures = [("target", shown(d.target)), *pictures, ("difference", difference)]
        cells = "".join(
            f'<span><img src="{data_uri(pixels)}" alt="{what}, {escape(d.caption)}">'
            f"<small>{what}</small></span>"
            for what, pixels in pictures
        )
        cards.append(
            f'<figure class="card"><div class="trio">{cells}</div>'
            f"<figcaption>{escape(d.caption)}</figcaption></figure>"
        )
    legends = [bar("target and network, line at 0", limit)] if signed else []
    if any(d.target is not None for d in drawings):
        colours = " (mean over colours)" if drawings[0].drawn.shape[-1] > 1 else ""
        legends.append(bar(f"difference, target - network{colours}", apart))
    return f"{''.join(legends)}<div class='cards'>{''.join(cards)}</div>"


def bar(what: str, limit: float) -> str:
    """A scale bar as HTML: what is shown, from -limit to limit."""
    end = number(limit)
    return (
        f'<p class="bar">{escape(what)}: <span>-{end}</span>'
        f'<img src="{scale_bar()}" alt="colours from blue over white to red"><span>{end}</span></p>'
    )


def _curves(drawings: list[Drawing], view: View) -> str:
    cards = []
    for d in drawings:
        lines = [(d.drawn[:, 0].astype(float), "line")]
        if d.target is not None:
            lines.insert(0, (d.target[:, 0].astype(float), "line target"))
        told = f"What {d.caption} draws" + (", and its target" if d.target is not None else "")
        chart = curves(view.points[:, 0].astype(float), lines, told)
        cards.append(
            f'<figure class="card">{chart}<figcaption>{escape(d.caption)}</figcaption></figure>'
        )
    key = '<span class="key">line</span> network'
    if any(d.target is not None for d in drawings):
        key += ', <span class="key target">broad line</span> target'
    return f"<p>{key}</p><div class='cards'>{''.join(cards)}</div>"


def _limit(values: list[Array]) -> float:
    """Of a colour scale: what all but a half percent of the finite numbers stay below."""
    if not values:
        return 1.0
    size = np.abs(np.concatenate([v.reshape(-1) for v in values]))
    size = size[np.isfinite(size)]
    return float(np.quantile(size, 0.995)) or 1.0 if len(size) else 1.0
