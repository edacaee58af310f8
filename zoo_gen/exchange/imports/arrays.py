"""Many networks per file: HDF5 of the arena, the small CNN zoo, stacked safetensors."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError
from zoo_gen.exchange import hdf5
from zoo_gen.exchange.imports.files import Reading
from zoo_gen.exchange.imports.layers import Layout, Shape, Style, is_weight, layout_of
from zoo_gen.exchange.imports.listing import Listing, fingerprint
from zoo_gen.exchange.imports.tables import columns_of, read_csv
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.zoo.shards import Columns

Tensors = tuple[tuple[str, Shape], ...]
PLAIN = Reading()
ARENA_FILE = re.compile(r".*?(\d+)-(\d+)$")


@dataclass
class Rows:
    """Networks that are rows of arrays.

    Attributes:
        format: the layout's name.
        where: the folder or file.
        listing: of the rows.
        forward_pass: what the networks compute, as far as that is known.
        tensors: name and shape of each tensor in the source.
        style: whose kernels they are.
        fetch: rows of the listing -> name -> ``[k, *shape]``.
        by_name: whether names give the order of layers, rather than places in the source.
        reading: always everything.
        skipped: always 0: a row cannot be bad alone.
        notes: always empty.
    """

    format: str
    where: Path
    listing: Listing
    forward_pass: ForwardPass
    tensors: Tensors
    style: Style
    fetch: Callable[[npt.NDArray[np.int64]], dict[str, npt.NDArray[Any]]]
    by_name: bool = False
    reading: Reading = PLAIN
    skipped: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def layout(self) -> Layout:
        """The architecture."""
        try:
            return layout_of(self.tensors, self.style, self.by_name)
        except ValueError as error:
            raise SourceError(f"{self.where}: {error}") from error

    def read(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], Columns]:
        """As `Foreign.read`."""
        return self.layout.theta(self.fetch(rows)), {}


def arena(src: Path) -> Rows:
    """Neural-field arena: ``{prefix}_{start}-{end}.hdf5`` files; ``signal`` counts their rows.

    Raises:
        SourceError: no such files, a gap between them, or several architectures.
    """
    spans = {p: _span(p) for p in src.glob("*.hdf5") if ARENA_FILE.match(p.stem)}
    paths = sorted(spans, key=lambda p: spans[p])
    if not paths:
        raise SourceError(f"{src}: there are no files such as mnist_0-999.hdf5 in it")
    files = [hdf5.describe(path) for path in paths]
    by_config: dict[hdf5.Config, list[str]] = {}
    for path, file in zip(paths, files, strict=True):
        by_config.setdefault(file.config, []).append(path.name)
    if len(by_config) > 1:
        kinds = [
            f"{len(names)} are {_told(config, 'keras')} (first: {names[0]})"
            for config, names in by_config.items()
        ]
        raise SourceError(
            f"{src}: its files have {len(by_config)} architectures: {'; '.join(kinds)}; "
            "import each from a folder of its own"
        )
    starts = np.cumsum([0, *(file.rows for file in files)])
    first = spans[paths[0]][0]
    for path, begin in zip(paths, starts, strict=False):
        if spans[path][0] - first != begin:
            raise SourceError(
                f"{path} begins at {spans[path][0]}, but the files before it hold the rows "
                f"{first} to {first + begin - 1}: one is missing or there twice"
            )
    config = files[0].config

    def fetch(rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        which = np.searchsorted(starts, rows, side="right") - 1
        parts = [hdf5.read_params(paths[f], rows[which == f] - starts[f]) for f in np.unique(which)]
        return _cut(np.concatenate(parts), config)

    known = [file.labels for file in files if file.labels is not None]
    columns: Columns = {"label": np.concatenate(known)} if len(known) == len(files) else {}
    m = int(starts[-1])
    listing = Listing(
        first + np.arange(m), np.full(m, ""), fingerprint(src, (p.name for p in paths)), columns
    )
    siren = any(name.startswith("kernel_net") for name, _ in config)
    forward_pass = ForwardPass("sine", 30.0, 0.0) if siren else UNKNOWN
    if (about := files[0].about) is not None:
        forward_pass = ForwardPass.from_dict(about.get("network"))
    return Rows("nef-arena", src, listing, forward_pass, config, "keras", fetch, by_name=True)


def cnn_zoo(src: Path, step: int | None = None) -> Rows:
    """Small CNN zoo of Unterthiner et al. 2020: weights.npy, metrics.csv.gz, layout.csv.

    ``signal`` is a training run (``modeldir``), its snapshots are the views; metrics are columns.

    Args:
        src: the folder.
        step: only snapshots at this step (86 is the last); None for all.

    Raises:
        SourceError: a file is missing, or they do not fit together.
    """
    metrics_file = next(
        (src / n for n in ("metrics.csv.gz", "metrics.csv") if (src / n).is_file()), None
    )
    if metrics_file is None:
        raise SourceError(f"{src}: there is no metrics.csv.gz")
    tensors = _layout_csv(src / "layout.csv")
    try:
        weights = np.load(src / "weights.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{src / 'weights.npy'}: it cannot be read ({error})") from error
    metrics = read_csv(metrics_file)
    size = sum(prod(shape) for _, shape in tensors)
    if weights.shape != (len(metrics), size):
        raise SourceError(
            f"{src}: weights.npy is {list(weights.shape)}, but metrics has {len(metrics)} rows and "
            f"layout.csv describes {size} numbers each"
        )
    rows = np.arange(len(metrics))
    if step is not None:
        if "step" not in metrics or not (metrics["step"] == step).any():
            raise SourceError(f"{metrics_file}: no row has step {step}")
        rows = rows[(metrics["step"] == step).to_numpy(bool)]
    runs = metrics["modeldir"].astype(str) if "modeldir" in metrics else None
    signal = rows if runs is None else _codes(runs.to_numpy(str)[rows])
    order = np.argsort(signal, kind="stable")
    rows, signal = rows[order], signal[order]
    columns = columns_of(metrics.drop(columns="modeldir", errors="ignore"), rows)
    names = [src / n for n in ("weights.npy", "layout.csv")]
    marks = fingerprint(src, [*(p.name for p in names), metrics_file.name])
    listing = Listing(signal.astype(np.int64), np.full(len(rows), ""), marks, columns)

    def fetch(wanted: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        return _cut(np.asarray(weights[rows[wanted]]), tensors)

    return Rows("unterthiner-cnn", src, listing, UNKNOWN, tensors, "keras", fetch)


def stacked(src: Path) -> Rows:
    """One ``.safetensors`` with tensors ``[m, *shape]``, as `dwszoo export` writes it.

    One-dimensional tensors that are no weights become columns; ``split`` is 0, 1 or 2 (train, val,
    test), ``diverged`` 0 or 1.

    Raises:
        SourceError: it cannot be read, or its tensors are of several lengths.
    """
    from safetensors import SafetensorError, safe_open

    def read(rows: npt.NDArray[np.int64] | None) -> dict[str, npt.NDArray[Any]]:
        with safe_open(src, framework="np") as file:
            names = [n for n in file.keys() if is_weight(n)]  # noqa: SIM118
            if rows is None:
                return {n: file.get_tensor(n) for n in file.keys() if n not in names}  # noqa: SIM118
            first, last = int(rows[0]), int(rows[-1]) + 1
            return {n: file.get_slice(n)[first:last][rows - first] for n in names}

    try:
        with safe_open(src, framework="np") as file:
            shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
            about = json.loads((file.metadata() or {}).get("dwszoo", "{}"))
        columns = read(None)
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(f"{src}: it is no .safetensors file ({error})") from error
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    tensors = tuple((n, shape[1:]) for n, shape in shapes.items() if is_weight(n))
    if len(lengths) != 1 or not tensors or 0 in lengths:
        raise SourceError(
            f"{src}: expected weights [m, *shape] of m networks, got {_some(shapes)}; for a folder "
            "of files with a network each, the format is 'folder'"
        )
    m = lengths.pop()
    split = np.array(["", "train", "val", "test"])[columns.pop("split", np.full(m, -1)) + 1]
    signal = columns.pop("signal", np.arange(m)).astype(np.int64)
    if "diverged" in columns:
        columns["status"] = np.where(columns.pop("diverged") != 0, "diverged", "ok")
    forward_pass = ForwardPass.from_dict(about.get("network"))
    listing = Listing(
        signal,
        split,
        fingerprint(src.parent, [src.name]),
        {
            n: _unmasked(x)
            for n, x in columns.items()
            if x.ndim == 1 and n not in ("member", "view")
        },
    )
    return Rows("safetensors", src, listing, forward_pass, tensors, "torch", read, by_name=True)


def _unmasked(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """NaN stands for what is unknown."""
    kind = values.dtype.kind
    return np.ma.masked_invalid(values) if kind == "f" else values


def _cut(flat: npt.NDArray[Any], tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
    ends = np.cumsum([prod(shape) for _, shape in tensors])
    parts = np.split(flat, ends[:-1], axis=1)
    return {
        name: part.reshape(len(flat), *shape)
        for (name, shape), part in zip(tensors, parts, strict=True)
    }


def _codes(names: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... in the order in which names first come."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _layout_csv(path: Path) -> Tensors:
    frame = read_csv(path)
    lacking = {"varname", "start_idx", "end_idx", "shape"} - set(frame.columns)
    if lacking:
        raise SourceError(f"{path}: it lacks the columns {sorted(lacking)}")
    frame = frame.sort_values("start_idx")
    tensors, at = [], 0
    for name, start, end, text in frame[["varname", "start_idx", "end_idx", "shape"]].itertuples(
        index=False
    ):
        shape = ast.literal_eval(str(text))
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if (start, end) != (at, at + prod(shape)):
            raise SourceError(
                f"{path}: {name} of shape {shape} lies at {start}..{end}, expected "
                f"{at}..{at + prod(shape)}"
            )
        tensors.append((str(name), shape))
        at = int(end)
    return tuple(tensors)


def _span(path: Path) -> tuple[int, int]:
    found = ARENA_FILE.match(path.stem)
    assert found is not None
    return int(found[1]), int(found[2])


def _told(tensors: Tensors, style: Style) -> str:
    try:
        return str(layout_of(tensors, style, by_name=True))
    except ValueError as error:
        return f"unreadable ({error})"


def _some(shapes: dict[str, Shape]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:4])
