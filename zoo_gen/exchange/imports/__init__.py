"""Zoos that users already have: from public layouts, or folders of state dicts, to this format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from zoo_gen.errors import ConfigError, SourceError
from zoo_gen.exchange.imports import arrays, folders
from zoo_gen.exchange.imports.checkpoints import PLAIN
from zoo_gen.exchange.imports.files import Reading
from zoo_gen.exchange.imports.listing import Foreign, Listing
from zoo_gen.exchange.imports.run import Import, Imported

FORMATS: dict[str, str] = {
    "dwsnets-mnist": "mnist_png_{training,testing}_{label}_{idx}/checkpoints/model_final.pth",
    "dwsnets-fashion": "splits.json and .pth files with their label",
    "dwsnets-sine": ".pth files with coef (amplitude, frequency)",
    "nfn-siren": "randinit_smaller[_augK]_{label}s/*net{idx}.pth",
    "nef-arena": "{prefix}_{start}-{end}.hdf5 with params, labels, param_config",
    "unterthiner-cnn": "weights.npy, metrics.csv.gz, layout.csv",
    "folder": "any files of networks, one each (torch, safetensors, Keras, flax, npz), labels.csv",
    "safetensors": "one file with all networks, as `dwszoo export` writes it",
}
"""Name of a layout -> how its files look."""

__all__ = ["FORMATS", "Foreign", "Import", "Imported", "Listing", "Reading", "open_source"]


def open_source(
    kind: str,
    src: Path,
    labels: Path | None = None,
    step: int | None = None,
    split_at: tuple[int, int] | None = None,
    skip_bad: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    reading: Reading = PLAIN,
    glob: str | None = None,
) -> Foreign:
    """The networks of a folder or file, listed but not read.

    Args:
        kind: a key of `FORMATS`.
        src: where they lie.
        labels: a CSV, for ``"folder"``.
        step: snapshots of this step alone, for ``"unterthiner-cnn"``.
        split_at: signals below the first are for training, below the second for validation.
        skip_bad: whether to leave out files that cannot be imported (all are read to find them).
        progress: called with the number of files that were looked at.
        reading: part, layers and order to take of files, where they leave a choice.
        glob: pattern of files' names, for ``"folder"``.

    Raises:
        ConfigError: a layout that is not known, or an option that it does not have.
        SourceError: there are no such networks; says what was expected.
    """
    if kind not in FORMATS:
        raise ConfigError(f"FORMAT: got {kind!r}, expected one of {', '.join(FORMATS)}")
    if labels is not None and kind != "folder":
        raise ConfigError(f"--labels: the format {kind} has labels of its own; drop the option")
    if step is not None and kind != "unterthiner-cnn":
        raise ConfigError(f"--step: the format {kind} has no steps; drop the option")
    if glob is not None and kind != "folder":
        raise ConfigError(f"--glob: the format {kind} has files of its own; drop the option")
    if reading.describe() and kind in ("nef-arena", "unterthiner-cnn", "safetensors"):
        raise ConfigError(
            f"--part, --ignore, --order: the format {kind} has one network per row; drop them"
        )
    if not src.exists():
        raise SourceError(f"{src} does not exist")
    found: Foreign
    if kind == "folder":
        found = folders.folder(src, labels, reading, glob, skip_bad, progress)
    elif kind in FILES:
        files = replace(FILES[kind](src), reading=reading)
        found = files.surveyed(True, progress) if skip_bad else files
    elif kind == "unterthiner-cnn":
        found = arrays.cnn_zoo(src, step)
    else:
        found = arrays.arena(src) if kind == "nef-arena" else arrays.stacked(src)
    if split_at is not None:
        found.listing = found.listing.split_at(*split_at)
    return found


FILES = {
    "dwsnets-mnist": folders.mnist,
    "dwsnets-fashion": folders.fashion,
    "dwsnets-sine": folders.sine,
    "nfn-siren": folders.nfn,
}
