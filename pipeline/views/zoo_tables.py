"""What is in a zoo as tables of text, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.views.text_table import TextTable, number, printable, size
from zoo_gen.health.health import IDENTITY, Health
from zoo_gen.health.verdict import Finding
from zoo_gen.recipe.recipe import SPLITS

UNITS = {"psnr": "psnr, dB"}
QUARTILES = (0.25, 0.5, 0.75)
FREQUENT = 5


def zoo_tables(health: Health) -> list[TextTable]:
    """All tables of a zoo, without empty ones."""
    found = [_facts(health), _recipe(health), _counts(health), _numbers(health), _texts(health)]
    return [sheet for sheet in (*found, _tensors(health)) if sheet.rows]


def measured(health: Health) -> dict[str, str]:
    """Columns of numbers that hold some, varying or not -> how they are called."""
    return {
        name: UNITS.get(name, printable(name))
        for name, moments in health.numbers.items()
        if moments.count
    }


def describe(health: Health, found: list[Finding]) -> RenderableType:
    """Tables, then the verdict."""
    parts: list[RenderableType] = []
    for sheet in zoo_tables(health):
        parts += [_table(sheet), *(Text(note, style="dim") for note in sheet.notes), ""]
    return Group(*parts, verdict(found))


def verdict(found: list[Finding]) -> RenderableType:
    """``healthy``, or ``look at this`` and a line per finding."""
    if not found:
        return Text("healthy", style="green")
    lines = [Text(f"- {printable(finding)}") for finding in found]
    return Group(Text("look at this", style="bold yellow"), *lines)


def _table(sheet: TextTable) -> Table:
    # Text, not str: content of a zoo is no markup
    if sheet.header is None:
        table = Table.grid(padding=(0, 2))
        for _ in range(2):
            table.add_column(overflow="fold")
        table.title, table.title_justify = Text(sheet.title), "left"
    else:
        table = Table(title=Text(sheet.title), title_justify="left", box=box.SIMPLE_HEAD)
        # seven columns of numbers fit in eighty letters
        table.pad_edge, table.collapse_padding = False, True
        for i, name in enumerate(sheet.header):
            text = name in ("most frequent", "fingerprint")
            table.add_column(
                Text(name), justify="left" if i == 0 or text else "right", overflow="fold"
            )
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def _facts(health: Health) -> TextTable:
    zoo, total = health.zoo, sum(health.sizes.values())
    there = f", {health.there:,} of them here" if health.there < len(zoo) else ""
    kind, part = ("signals", "networks")
    if zoo.maker is not None and not zoo.maker.per_signal:
        kind, part = ("runs", "snapshots")
    views = zoo.description["recipe"]["zoo"].get("views")
    each = f", up to {views:,} {part} each" if isinstance(views, int) and views > 1 else ""
    absent = sum(shard.kind == "missing" for shard in health.bad)
    shards = [f"{len(health.sizes):,} read, every checksum verified"]
    shards += [f"{absent:,} missing"] if absent else []
    shards += [f"{len(health.bad) - absent:,} bad"] if len(health.bad) > absent else []
    versions = zoo.description.get("versions")
    rows = [
        ["zoo", zoo.url],
        ["networks", f"{len(zoo):,} of {zoo.space}, {zoo.space.size:,} weights each{there}"],
        [kind, f"{zoo.signals:,}{each}"],
        ["shards", ", ".join(shards)],
    ]
    if health.there:
        per = f"{size(total / health.there)} per network ({size(4 * zoo.space.size)} of weights)"
        rows.append(["on disk", f"{size(total)}, {per}"])
    if isinstance(versions, dict):
        rows.append(["made with", ", ".join(f"{k} {v}" for k, v in versions.items())])
    return TextTable("zoo", None, [[printable(cell) for cell in row] for row in rows])


def _recipe(health: Health) -> TextTable:
    recipe = health.zoo.description["recipe"]
    return TextTable("recipe", None, [[printable(k), printable(v)] for k, v in _lines(recipe)])


def _lines(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested keys as ``key.sub`` and a text; what is null or empty is left out."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _lines(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and not any(isinstance(v, dict) for v in value):
        yield key, ", ".join(str(v) for v in value)
    elif value not in (None, [], ""):
        yield key, str(value)


def _counts(health: Health) -> TextTable:
    statuses = list(dict.fromkeys(["ok", "diverged", *sorted({s for _, s in health.counts})]))
    names = list(dict.fromkeys([*SPLITS, *sorted({s for s, _ in health.counts})]))
    rows = [
        [printable(name) or "(none)", *(f"{health.counts[name, status]:,}" for status in statuses)]
        for name in names
    ]
    whole = [sum(health.counts[name, status] for name in names) for status in statuses]
    rows.append(["all", *(f"{n:,}" for n in whole)])
    return TextTable("counts", ["split", *map(printable, statuses)], rows)


def _numbers(health: Health) -> TextTable:
    rows, sample = [], health.sample.columns
    for name, title in measured(health).items():
        moments, values = health.numbers[name], sample[name]
        known = values[np.isfinite(values)].astype(float)
        if not len(known):  # of the few that the sample of a large zoo left out
            known = np.array([moments.mean])
        cells = [moments.low, *np.quantile(known, QUARTILES).tolist(), moments.high]
        rows.append([title, *map(number, cells), f"{health.missing[name]:,}"])
    notes = ["Of the networks that are ok; missing values are those of all."]
    if health.sample.step > 1:
        notes.append(f"Quartiles are those of every {health.sample.step}th network.")
    unknown = [
        printable(name)
        for name, rows_without in health.missing.items()
        if rows_without == health.there and name not in ("split", "status")
    ]
    if unknown:
        notes.append(f"Columns without any value: {', '.join(unknown)}.")
    header = ["column", "min", "25%", "median", "75%", "max", "missing"]
    return TextTable("columns", header, rows, notes)


def _texts(health: Health) -> TextTable:
    rows = []
    for name, words in health.words.items():
        if name in IDENTITY or name in ("split", "status") or not words.counts:
            continue
        most = ", ".join(f"{printable(w)} ({n:,})" for w, n in words.counts.most_common(FREQUENT))
        different = f"{len(words.counts):,}" + (" or more" if words.more else "")
        rows.append([printable(name), different, most, f"{health.missing[name]:,}"])
    header = ["column of text", "different", "most frequent", "missing"]
    return TextTable("text", header, rows)


def _tensors(health: Health) -> TextTable:
    rows = []
    for name, print_ in health.tensors.items():
        m, shape = print_.moments, health.zoo.space.shapes[name]
        if m.count:
            cells = [f"{x:+.4f}" for x in (m.mean, m.low, m.high)]
            cells.insert(1, f"{m.std:.4f}")
            rows.append([name, "x".join(map(str, shape)), *cells, print_.short])
    notes = ["Fingerprint: of the bytes of all networks that are ok, in row order; equal in two "]
    notes[0] += "zoos means equal weights."
    header = ["tensor", "shape", "mean", "std", "min", "max", "fingerprint"]
    return TextTable("weights per tensor", header, rows, notes)
