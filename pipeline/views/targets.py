"""The signals behind a zoo, loaded again from what its recipe says of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from zoo_gen import SOURCES, ConfigError, Signals, SourceError, ZooReader

OPTION = "--source PATH (where the signals are stored) adds the targets"


@dataclass(frozen=True)
class Targets:
    """What the networks of a zoo should draw, where that is known.

    Attributes:
        signals: the whole source, None if there is none to compare with.
        note: then why, as a sentence; else empty.
    """

    signals: Signals | None
    note: str = ""

    def of(self, signal: int) -> npt.NDArray[np.float32] | None:
        """One signal ``[points, d_out]``, by its index in the source; None where there is none."""
        if self.signals is None:
            return None
        rows = np.flatnonzero(self.signals.index == signal)
        return self.signals.targets(rows)[0] if len(rows) else None


def load_targets(zoo: ZooReader, path: str | None, console: Console) -> Targets:
    """The signals of a zoo's source.

    Args:
        zoo: whose recipe describes the source.
        path: where its files are stored, which no recipe records; None if not given.
        console: for progress.

    Raises:
        ConfigError: a path is given, but no source of this zoo takes one.
        SourceError: the signals there are not those of the zoo.
    """
    recipe = zoo.description["recipe"]
    recorded = recipe.get("source")
    recorded = recorded if isinstance(recorded, dict) else {}
    kind = str(recorded.get("kind"))
    if zoo.maker is None or not zoo.maker.per_signal or kind not in SOURCES:
        if path is not None:
            raise ConfigError(f"--source: networks of this zoo ({kind}) were not fitted to signals")
        return Targets(None, "Its networks were not fitted to signals that could be shown.")
    known = {f.name for f in fields(SOURCES[kind])}
    if path is not None and "path" not in known:
        raise ConfigError(
            f"--source: signals of the kind {kind} are generated, not read; leave it out"
        )
    if path is None and "path" in known:
        return Targets(None, f"Targets are not shown: {OPTION}.")
    # a path in the recipe would be another person's decision on what to open here
    described = {f.name for f in fields(SOURCES[kind]) if f.metadata.get("hash", True)}
    keys = {k: _tuple(v) for k, v in recorded.items() if k in described - {"kind", "path"}}
    if path is not None:
        keys["path"] = path
    try:
        with console.status("loading the signals"):
            signals: Signals = SOURCES[kind](**keys).load()
    except TypeError as error:
        return Targets(None, f"Targets are not shown: the recipe's source is not one ({error}).")
    if signals.fingerprint != recipe.get("fingerprint"):
        if path is None:
            return Targets(None, "Targets are not shown: the source gives other signals today.")
        raise SourceError(
            f"--source: the signals in {path} are not those that {zoo.url} was fitted to "
            "(another fingerprint); give the place of the original ones"
        )
    return Targets(signals)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
