"""What some networks of a zoo draw, beside their targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.views.charts import Chart, Line, curves
from pipeline.views.images import (
    Array,
    data_uri,
    distance_pixels,
    plain_pixels,
    signed_pixels,
)
from pipeline.views.targets import Targets
from pipeline.views.text_table import printable
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


@dataclass(frozen=True)
class Gallery:
    """Networks drawn beside their targets, for a page; empty with a note where they cannot be.

    Attributes:
        note: a sentence about it.
        scales: of colours: what is shown, and the limit.
        images: (caption, pictures), a picture being its name and data URI.
        charts: of functions of one variable.
        has_targets: whether targets are shown.
    """

    note: str
    scales: list[tuple[str, float]] = field(default_factory=list)
    images: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    has_targets: bool = False


def zoo_gallery(health: Health, targets: Targets) -> Gallery:
    """Networks of a zoo, evenly spaced, with the best and the worst."""
    maker = health.zoo.maker
    if maker is not None and not maker.coordinates:
        return Gallery(f"These networks are {maker.members_are}: they draw nothing.")
    if health.flat is None:
        return Gallery("What these networks compute is not a picture or a curve, or is not known.")
    drawn = gallery(health.zoo, targets, _chosen(health))
    return drawn or Gallery("These networks have too many inputs or outputs to be drawn.")


def gallery(zoo: ZooReader, targets: Targets, chosen: list[tuple[int, str]]) -> Gallery | None:
    """Some networks of a zoo; None where they cannot be drawn.

    Args:
        zoo: of the networks.
        targets: what they should draw.
        chosen: members, each with a remark for its caption.
    """
    drawn = draw(zoo, targets, chosen)
    if drawn is None:
        return None
    view, drawings = drawn
    note = " ".join(text for text in (view.note, targets.note) if text)
    known = any(d.target is not None for d in drawings)
    if view.kind == "curve":
        charts = [_curve(d, view) for d in drawings]
        return Gallery(note, charts=charts, has_targets=known)
    return _images(note, drawings, view)


def draw(
    zoo: ZooReader, targets: Targets, chosen: list[tuple[int, str]]
) -> tuple[View, list[Drawing]] | None:
    """Some networks as arrays, and where they are drawn; None where they cannot be."""
    view = _view(zoo, targets) if zoo.forward_pass.activation is not None else None
    if view is None:
        return None
    return view, [_draw_member(zoo, member, why, view, targets) for member, why in chosen]


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


def _draw_member(zoo: ZooReader, member: int, why: str, view: View, targets: Targets) -> Drawing:
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
    parts = [f"member {member}", printable(columns["split"][0])]
    label = columns.get("label")
    if label is not None:
        parts.append(f"label {printable(label[0].item())}")
    for name, form in (("psnr", "{:.1f} dB"), ("loss", "loss {:.2g}")):
        value = float(columns[name][0])
        if np.isfinite(value):
            parts.append(form.format(value))
            break
    return ", ".join(part for part in [*parts, why] if part)


def _images(note: str, drawings: list[Drawing], view: View) -> Gallery:
    limit = _limit([x for d in drawings for x in (d.drawn, d.target) if x is not None])
    apart = _limit([d.target - d.drawn for d in drawings if d.target is not None])
    signed = view.kind == "distance"

    def shown(values: Array) -> str:
        signed_or_plain = distance_pixels(values[..., 0], limit) if signed else plain_pixels(values)
        return data_uri(signed_or_plain)

    images = []
    for d in drawings:
        pictures = [("network", shown(d.drawn))]
        if d.target is not None:
            difference = data_uri(signed_pixels((d.target - d.drawn).mean(-1), apart))
            pictures = [("target", shown(d.target)), *pictures, ("difference", difference)]
        images.append((d.caption, pictures))
    scales = [("target and network, line at 0", limit)] if signed else []
    known = any(d.target is not None for d in drawings)
    if known:
        colours = " (mean over colours)" if drawings[0].drawn.shape[-1] > 1 else ""
        scales.append((f"difference, target - network{colours}", apart))
    return Gallery(note, scales, images, has_targets=known)


def _curve(d: Drawing, view: View) -> Chart:
    lines, title = [Line(d.drawn[:, 0].astype(float))], f"Network {d.caption}"
    if d.target is not None:
        lines.insert(0, Line(d.target[:, 0].astype(float), "warm", width=6, opacity=0.35))
        title += ", and its target"
    return curves(view.points[:, 0].astype(float), lines, title, caption=d.caption)


def _limit(values: list[Array]) -> float:
    """Of a colour scale: what all but a half percent of the finite numbers stay below."""
    if not values:
        return 1.0
    size = np.abs(np.concatenate([v.reshape(-1) for v in values]))
    size = size[np.isfinite(size)]
    return float(np.quantile(size, 0.995)) or 1.0 if len(size) else 1.0
