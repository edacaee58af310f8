"""Tables beside networks: what a CSV says about each file or row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo_gen.errors import SourceError
from zoo_gen.zoo.shards import Columns

EXAMPLES = 3
RESERVED = ("member", "theta")  # of the zoo, not of a source


def read_table(path: Path, src: Path, files: list[str]) -> tuple[Columns, list[Path]]:
    """What a CSV says about these files: columns in their order, masked where it has no value.

    Args:
        path: of the CSV; its column ``file`` (or the first) holds paths below ``src``, or names or
            stems of files where these are unique.
        src: the folder.
        files: below it.

    Returns:
        Columns, and the files that belong to the source beside ``files``.

    Raises:
        SourceError: labels that match no file or one file twice; names some.
    """
    frame = read_csv(path)
    key = "file" if "file" in frame else str(frame.columns[0])
    frame = read_csv(path, text=key)  # 007 is a name, not a number
    places: dict[str, int | None] = {}
    for i, file in enumerate(files):
        own = Path(file)
        for name in {file, file.removesuffix(own.suffix), own.name, own.stem}:
            places[name] = None if name in places else i  # None: several files have it
    named = frame[key].astype(str).str.removeprefix("./")
    found = named.map(places)
    if (lost := frame[key][found.isna()].tolist()) or not len(frame):
        raise SourceError(
            f"{path}: {len(lost)} of {len(frame)} labels match no file of {src}, or several (first:"
            f" {', '.join(map(str, lost[:EXAMPLES]))}); its column {key!r} must hold paths of files"
        )
    if (twice := frame[key][found.duplicated()]).size:
        raise SourceError(f"{path}: {twice.iloc[0]} has two rows; give each file one")
    at = pd.Series(np.arange(len(frame)), index=found.astype(int)).reindex(range(len(files)))
    rows = at.fillna(-1).to_numpy(np.int64)
    return columns_of(frame.drop(columns=key), rows), [path]


def read_csv(path: Path, text: str | None = None) -> pd.DataFrame:
    """A CSV, packed or not, with nullable types; one column of it may be read as text.

    Raises:
        SourceError: it is missing or no CSV.
    """
    try:
        types = {text: "string"} if text else None
        return pd.read_csv(path, dtype=types, dtype_backend="numpy_nullable")
    except (OSError, ValueError, EOFError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error
        raise SourceError(f"{path}: it cannot be read as CSV ({reason})") from error


def columns_of(frame: pd.DataFrame, rows: Any) -> Columns:
    """Columns of a frame at these rows, masked where unknown (row -1, or no value).

    Whole numbers become int64, others float32, anything else text.
    """
    found: Columns = {}
    for name in frame.columns:
        values = frame[name]
        if name in RESERVED or values.isna().all():
            continue
        if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_integer_dtype(values.dtype):
            dtype: Any = np.int64
        else:
            dtype = np.float32 if pd.api.types.is_float_dtype(values.dtype) else str
        unknown = values.isna().to_numpy()[rows] | (rows < 0)
        filled = values.fillna("" if dtype is str else dtype(0)).to_numpy(dtype)[rows]
        found[str(name)] = np.ma.MaskedArray(filled, mask=unknown) if unknown.any() else filled
    return found
