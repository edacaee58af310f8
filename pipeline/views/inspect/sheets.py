"""The numbers of a zoo as tables of text, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.views.pages.sheet import Sheet, number, plain, size
from zoo_gen.health.health import IDENTITY, Health
from zoo_gen.recipe.recipe import SPLITS

UNITS = {"psnr": "psnr, dB"}
QUARTILES = (0.25, 0.5, 0.75)
FREQUENT = 5


def sheets(health: Health) -> list[Sheet]:
    """All that there is to tell, without what this zoo does not have."""
    told = [_facts(health), _recipe(health), _counts(health), _numbers(health), _words(health)]
    return [sheet for sheet in (*told, _tensors(health)) if sheet.rows]


def measured(health: Health) -> dict[str, str]:
    """Columns of numbers that hold some, varying or not -> how they are called."""
    return {
        name: UNITS.get(name, plain(name))
        for name, moments in health.numbers.items()
        if moments.count
    }


def _facts(health: Health) -> Sheet:
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
    return Sheet("zoo", None, [[plain(cell) for cell in row] for row in rows])


def _recipe(health: Health) -> Sheet:
    recipe = health.zoo.description["recipe"]
    return Sheet("recipe", None, [[plain(k), plain(v)] for k, v in _lines(recipe)])


def _lines(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested keys as ``key.sub`` and a text; what is null or empty is left out."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _lines(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and not any(isinstance(v, dict) for v in value):
        yield key, ", ".join(str(v) for v in value)
    elif value not in (None, [], ""):
        yield key, str(value)


def _counts(health: Health) -> Sheet:
    statuses = list(dict.fromkeys(["ok", "diverged", *sorted({s for _, s in health.counts})]))
    names = list(dict.fromkeys([*SPLITS, *sorted({s for s, _ in health.counts})]))
    rows = [
        [plain(name) or "(none)", *(f"{health.counts[name, status]:,}" for status in statuses)]
        for name in names
    ]
    whole = [sum(health.counts[name, status] for name in names) for status in statuses]
    rows.append(["all", *(f"{n:,}" for n in whole)])
    return Sheet("counts", ["split", *map(plain, statuses)], rows)


def _numbers(health: Health) -> Sheet:
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
        plain(name)
        for name, rows_without in health.missing.items()
        if rows_without == health.there and name not in ("split", "status")
    ]
    if unknown:
        notes.append(f"Columns without any value: {', '.join(unknown)}.")
    header = ["column", "min", "25%", "median", "75%", "max", "missing"]
    return Sheet("columns", header, rows, notes)


def _words(health: Health) -> Sheet:
    rows = []
    for name, words in health.words.items():
        if name in IDENTITY or name in ("split", "status") or not words.counts:
            continue
        most = ", ".join(f"{plain(w)} ({n:,})" for w, n in words.counts.most_common(FREQUENT))
        different = f"{len(words.counts):,}" + (" or more" if words.more else "")
        rows.append([plain(name), different, most, f"{health.missing[name]:,}"])
    header = ["column of text", "different", "most frequent", "missing"]
    return Sheet("text", header, rows)


def _tensors(health: Health) -> Sheet:
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
    return Sheet("weights per tensor", header, rows, notes)
