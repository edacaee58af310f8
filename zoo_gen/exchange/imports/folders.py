"""Folders with a file per network: the public layouts, and any folder with a table of labels."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from zoo_gen.errors import SourceError
from zoo_gen.exchange.imports.checkpoints import PLAIN, Checkpoints, Extra
from zoo_gen.exchange.imports.files import ENDINGS, INDEX, BadFile, Reading, State, by_ending
from zoo_gen.exchange.imports.listing import Listing, fingerprint, masked
from zoo_gen.exchange.imports.tables import read_table
from zoo_gen.exchange.writing import MARKER
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.recipe.recipe import SPLITS
from zoo_gen.zoo.shards import Columns

WAVES = ForwardPass("sine", 30.0, 0.5)
PAPER = replace(WAVES, grid="xy")
SIREN = ForwardPass("sine", 30.0, 0.0, grid="ij", low=-1.0)

MNIST_FOLDER = re.compile(r"[^_]+_png_(training|testing)_(\d+)_(\d+)$")
MNIST_TRAINING = 60_000  # test images are counted on from here, as in the IDX files
NFN_FOLDER = re.compile(r".+_(\d+)s$")
NFN_FILE = re.compile(r"net(\d+)\.pth$")
HUGGING_FACE = (  # a folder with config.json holds one network: the first of these that is there
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
PIECE = re.compile(r"-\d{5}-of-\d{5}\.")  # of a network in several files


@dataclass
class _Row:
    """A network, as its path describes it."""

    file: str
    signal: int
    view: int = 0
    split: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


def mnist(src: Path) -> Checkpoints:
    """MNIST networks of Navon et al. 2023: ``mnist_png_{part}_{label}_{idx}/.../*.pth``.

    ``signal`` is the index of the image in MNIST, test images after the 60,000 of training.

    Raises:
        SourceError: there are none here.
    """
    rows, names = [], walked(src)
    for file in _files(names, (".pth",)):
        found = [m for part in Path(file).parts[:-1] if (m := MNIST_FOLDER.match(part))]
        if found:
            part, label, index = found[-1].groups()
            test = part == "testing"
            signal = int(index) + test * MNIST_TRAINING
            columns = {"label": int(label)}
            rows.append(_Row(file, signal, 0, "test" if test else "", columns))
    splits = _own_splits(src, names)
    for row in rows:
        row.split = splits.get(row.file, row.split)
    pattern = "mnist_png_training_7_123/checkpoints/model_final.pth"
    return _checkpoints("dwsnets-mnist", src, rows, pattern, PAPER)


def fashion(src: Path) -> Checkpoints:
    """Fashion-MNIST networks of Navon et al. 2023: ``splits.json``, a ``label`` in each file.

    Raises:
        SourceError: no splits.json, or files that it names are missing.
    """
    splits = _own_splits(src, walked(src))
    if not splits:
        raise SourceError(f"{src}: there is no splits.json, expected one with train, val and test")
    rows = [_Row(f, i, 0, split) for i, (f, split) in enumerate(splits.items())]
    extra = Extra({"label": np.int64}, lambda state: {"label": _number(state, "label")})
    return _checkpoints("dwsnets-fashion", src, rows, "files named in splits.json", PAPER, extra)


def sine(src: Path) -> Checkpoints:
    """Sine networks of Navon et al. 2023: ``coef`` (amplitude, frequency) in each file.

    Raises:
        SourceError: there are none here.
    """
    names = walked(src)
    splits = _own_splits(src, names)
    rows = [_Row(f, i, 0, splits.get(f, "")) for i, f in enumerate(_files(names, (".pth",)))]
    extra = Extra({"amplitude": np.float32, "frequency": np.float32}, _coefficients)
    found = _checkpoints("dwsnets-sine", src, rows, "model_0.pth", WAVES, extra)
    found.allowed = ("coef", "x", "y")  # the signal, beside the network that was fitted to it
    return found


def nfn(src: Path) -> Checkpoints:
    """SIRENs of Zhou et al. 2023: ``randinit_smaller[_augK]_{label}s/*net{idx}.pth``.

    ``signal`` is ``idx``; the networks in augK folders are further views of it.

    Raises:
        SourceError: there are none here.
    """
    rows, names = [], walked(src)
    for file in _files(names, (".pth",)):
        folder = NFN_FOLDER.match(Path(file).parent.name)
        name = NFN_FILE.search(file)
        if folder and name:
            rows.append(_Row(file, int(name[1]), 0, "", {"label": int(folder[1])}))
    splits = _own_splits(src, names)
    for row in rows:
        row.split = splits.get(row.file, "")
    return _checkpoints("nfn-siren", src, rows, "randinit_smaller_3s/net17.pth", SIREN)


def folder(
    src: Path,
    labels: Path | None = None,
    reading: Reading = PLAIN,
    glob: str | None = None,
    skip_bad: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Checkpoints:
    """Any folder of networks of one architecture, with a CSV of labels.

    Every file is looked into first, so that a fault is known before anything is written, and the
    numbers and texts beside the weights become columns.

    Args:
        src: its files with one of `ENDINGS` are the networks, in the order of their names, numbers
            read as numbers. A folder with ``config.json`` is one network, as Hugging Face saves it.
        labels: CSV with a column ``file`` (or the first one); columns ``signal``, ``view``,
            ``split``, ``seed``, ``loss``, ``psnr``, ``steps`` and ``status`` are those of the
            contract, others are task columns. Default: ``labels.csv`` in the folder, if there.
        reading: which part of the files to take.
        glob: pattern of the files' paths below ``src``, instead of their endings.
        skip_bad: whether to leave out all files but those of the commonest architecture.
        progress: called with the number of files that were looked at.

    Raises:
        SourceError: no files, files that are no networks or of several architectures, or labels
            that match none.
    """
    names = walked(src)
    files, others = _networks(names, glob)
    if not files:
        wanted = f"match --glob {glob}" if glob else f"end in {', '.join(ENDINGS)}"
        held = f"it holds {by_ending(names)}" if names else "it is empty"
        raise SourceError(f"{src}: no files in or below it {wanted}; {held}")
    labels = labels or (src / "labels.csv" if (src / "labels.csv").is_file() else None)
    columns, beside = read_table(labels, src, files) if labels else ({}, [])
    signal = columns.pop("signal", np.arange(len(files)))
    view = np.ma.filled(columns.pop("view", np.zeros(len(files), np.int64)), 0)
    split = np.ma.filled(columns.pop("split", np.full(len(files), "")), "")
    if strange := sorted({str(s) for s in split} - {*SPLITS, ""}):
        raise SourceError(f"{labels}: split has the values {strange}, expected train, val or test")
    if np.ma.getmaskarray(signal).any():
        raise SourceError(f"{labels}: signal is unknown for some files; fill it in or drop it")
    rows = [_Row(file, int(signal[i]), int(view[i]), str(split[i])) for i, file in enumerate(files)]
    marker = src / MARKER
    found = _checkpoints("folder", src, rows, "a.pth", UNKNOWN, None, beside, columns)
    found.reading = reading
    passed_over = [n for n in others if src / n not in (labels, marker)]
    if passed_over:
        advice = "" if glob else "; --glob PATTERN imports other names"
        found.notes = (f"passed over: {by_ending(passed_over)}{advice}",)
    return found.surveyed(skip_bad, progress)


def _networks(names: list[str], glob: str | None) -> tuple[list[str], list[str]]:
    """Those that are networks, and the others."""
    if glob is not None:
        found = _sorted(n for n in names if fnmatch(n, glob) or fnmatch(n.rsplit("/")[-1], glob))
        return found, sorted(set(names) - set(found))
    there = set(names)
    found = []
    for name in names:
        folder, slash, own = name.rpartition("/")
        first = next((n for n in HUGGING_FACE if f"{folder}{slash}{n}" in there), None)
        if first and f"{folder}{slash}config.json" in there:
            wanted = own == first
        else:
            piece = PIECE.search(own) is not None  # read by way of its index
            wanted = own.endswith((".safetensors" + INDEX, ".bin" + INDEX)) or (
                own.lower().endswith(ENDINGS) and not piece
            )
        if wanted:
            found.append(name)
    return _sorted(found), sorted(there - set(found))


def _checkpoints(
    kind: str,
    src: Path,
    rows: list[_Row],
    pattern: str,
    forward_pass: ForwardPass,
    extra: Extra | None = None,
    beside: Iterable[Path] = (),
    columns: Columns | None = None,
) -> Checkpoints:
    if not rows:
        raise SourceError(f"{src}: there are no files such as {pattern} in or below it")
    order = sorted(range(len(rows)), key=lambda i: (rows[i].signal, rows[i].view))
    names = {name for row in rows for name in row.columns}
    known = {n: masked([rows[i].columns.get(n) for i in order], np.int64) for n in sorted(names)}
    known |= {name: values[order] for name, values in (columns or {}).items()}
    files = [rows[i].file for i in order]
    marks = fingerprint(src, files)
    for path in beside:
        marks += fingerprint(path.parent, [path.name])
    listing = Listing(
        np.array([rows[i].signal for i in order], np.int64),
        np.array([rows[i].split for i in order], "<U5"),
        marks,
        known,
    )
    return Checkpoints(kind, src, files, listing, _exported(src) or forward_pass, extra, ("label",))


def _exported(src: Path) -> ForwardPass | None:
    """What the networks compute, as `dwszoo export` left it beside them."""
    marker = next((m for m in (src / MARKER, src.parent / MARKER) if m.is_file()), None)
    return None if marker is None else ForwardPass.from_dict(_about(marker).get("network"))


def _about(marker: Path) -> dict[str, Any]:
    try:
        about = json.loads(marker.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{marker}: it cannot be read ({error}); delete it") from error
    if not isinstance(about, dict):
        raise SourceError(f"{marker}: it does not describe an export; delete it")
    return about


def walked(src: Path) -> list[str]:
    """Names of the files below a folder, hidden ones and what macOS packs into archives left out.

    Raises:
        SourceError: it is no directory, or one below it cannot be listed.
    """
    if not src.is_dir():
        raise SourceError(f"{src} is not a directory")

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename} cannot be listed: {error.strerror}") from error

    found = []
    # os.walk, since pathlib takes five times as long for ten thousand files
    for folder, below, names in os.walk(src, onerror=refuse):
        below[:] = [name for name in below if name[0] != "." and name != "__MACOSX"]
        inside = Path(folder).relative_to(src).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in names if name[0] != "."]
    return found


def _files(names: list[str], suffixes: tuple[str, ...]) -> list[str]:
    """Those that may be networks, numbers in their names read as numbers."""
    return _sorted(name for name in names if name.endswith(suffixes))


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda f: [int(p) if p.isdigit() else p for p in _parts(f)])


def _parts(name: str) -> list[str]:
    """Text and digits in turn, beginning with text, so that keys can be compared."""
    return re.split(r"(\d+)", name)


def _own_splits(src: Path, names: list[str]) -> dict[str, str]:
    """File -> split, of a *splits.json with paths that were right on its author's machine."""
    listings = [name for name in names if name.rsplit("/", 1)[-1].endswith("splits.json")]
    places = [src / name for name in sorted(listings, key=lambda n: (n.count("/"), n))]
    if not places:
        return {}
    try:
        content = json.loads(places[0].read_text())
        named = {s: content[s] for s in SPLITS if s in content}
        paths = {s: p["path"] if isinstance(p, dict) else p for s, p in named.items()}
        pairs = [(str(p), split) for split in paths for p in paths[split]]
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f"{places[0]}: expected {{train, val, test: [paths]}} ({error!r})"
        ) from error
    ends: dict[str, str | None] = {}
    for file in _files(names, (".pth", ".pt", ".safetensors")):
        parts = file.split("/")
        for k in range(len(parts)):
            end = "/".join(parts[k:])
            ends[end] = None if end in ends else file  # None: an end that several files have
    found = {_match(path, ends): split for path, split in pairs}
    lost = [path for path, _ in pairs if not _match(path, ends)]
    if lost:
        raise SourceError(
            f"{places[0]} names {len(lost)} of {len(pairs)} files that are missing or ambiguous "
            f"(first: {lost[0]})"
        )
    if len(found) < len(pairs):
        raise SourceError(f"{places[0]} names {len(pairs) - len(found)} files more than once")
    return found


def _match(path: str, ends: dict[str, str | None]) -> str:
    """The file that shares the longest end with a path, or ""."""
    parts = path.split("/")
    for k in range(len(parts)):
        if file := ends.get("/".join(parts[k:])):
            return file
    return ""


def _number(state: State, name: str) -> Any:
    found = state.values.get(name)
    if not isinstance(found, int | float):
        raise BadFile(f"it has no number {name!r}")
    return found


def _coefficients(state: State) -> dict[str, Any]:
    stored = state.tensors.get("coef")
    values = state.content.get("coef", ()) if stored is None else stored.read().reshape(-1)
    coef = [x for x in values if isinstance(x, int | float | np.number)]
    if len(coef) != 2:
        raise BadFile(f"coef has {len(coef)} values, expected amplitude and frequency")
    return {"amplitude": float(coef[0]), "frequency": float(coef[1])}
