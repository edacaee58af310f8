"""What is in a zoo, in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table

from zoo_gen import Store, ZooError, ZooReader, open_zoo
from zoo_gen.recipe import SPLITS

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def find(store: Store, name: str) -> ZooReader:
    """A zoo by its folder (local or S3), or by its name or the start of it below the root.

    Raises:
        ZooError: there is none, or several; names those that are there.
    """
    if "://" in name or (Path(name) / "zoo.json").is_file():
        return open_zoo(name)
    known = store.names("zoos")
    found = [zoo for zoo in known if zoo == name] or [z for z in known if z.startswith(name)]
    if len(found) == 1:
        return ZooReader(store, f"zoos/{found[0]}")
    what = f"several zoos match ({', '.join(found)})" if found else "no zoo of this name"
    raise ZooError(
        f"{name}: {what}; {store.root} holds {', '.join(known) or 'none'}. Give one of these or "
        "the folder of a zoo"
    )


def describe(zoo: ZooReader) -> RenderableType:
    """Counts by split and status, errors of the fits, the weights of each tensor, size, recipe.

    Raises:
        ZooError: shards are missing or corrupt.
    """
    columns = zoo.columns(theta=True)
    recipe = zoo.description["recipe"]
    sizes = [
        len(zoo.store.read(zoo.path(f"shards/{n}"))) for n in zoo.store.names(zoo.path("shards"))
    ]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("zoo", zoo.url)
    facts.add_row("networks", f"{len(zoo):,} of {zoo.space}, {zoo.space.size:,} weights each")
    facts.add_row("signals", f"{zoo.signals:,}, {recipe['zoo']['views']} network(s) each")
    facts.add_row("shards", f"{len(sizes)}, {sum(sizes) / 1e6:,.1f} MB, checksums verified")
    facts.add_row("recipe", json.dumps(recipe["zoo"]["fit"] or recipe["source"]))

    counts = Table(title="networks", title_justify="left")
    counts.add_column("split")
    for name in ("ok", "diverged"):
        counts.add_column(name, justify="right")
    for split in SPLITS:
        mine = columns["status"][columns["split"] == split]
        counts.add_row(split, f"{(mine == 'ok').sum():,}", f"{(mine != 'ok').sum():,}")

    good = columns["status"] == "ok"
    errors = Table(
        title="fits (quantiles over networks that did not diverge)", title_justify="left"
    )
    errors.add_column("")
    for q in QUANTILES:
        errors.add_column(f"{q:.0%}", justify="right")
    for name, unit in (("psnr", "PSNR, dB"), ("loss", "MSE")):
        values = columns[name][good]
        if not np.isnan(values).all():  # unknown of networks that were imported
            errors.add_row(unit, *(f"{v:.3g}" for v in np.nanquantile(values, QUANTILES)))

    weights = Table(title="weights per tensor", title_justify="left")
    for name in ("tensor", "shape", "mean", "std"):
        weights.add_column(name, justify="left" if name == "tensor" else "right")
    mask = np.flatnonzero(good)
    for name, x in zoo.space.split(torch.from_numpy(columns["theta"][mask])).items():
        shape = "x".join(str(d) for d in zoo.space.shapes[name])
        weights.add_row(name, shape, f"{x.mean():+.4f}", f"{x.std():.4f}")
    return Group(facts, "", counts, errors, weights)
