"""A file per network, in any format that `files` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo_gen.errors import SourceError
from zoo_gen.exchange.imports.files import BadFile, Reading, State, Stored, read_state, weights_of
from zoo_gen.exchange.imports.files.stored import bad_file_for_any_error
from zoo_gen.exchange.imports.layers import Layout, Shape, layout_of
from zoo_gen.exchange.imports.listing import Listing, masked
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.zoo.shards import CONTRACT, Columns

Architecture = tuple[tuple[str, Shape], ...]  # tensors of a space with their shapes
EXAMPLES = 3
PLAIN = Reading()
TRAINED = {"seed", "loss", "psnr", "steps"}  # columns of the contract that a checkpoint may know


@dataclass(frozen=True)
class FileNetwork:
    """The network in a file, its weights not read yet.

    Attributes:
        layout: its architecture.
        weights: name in the file -> tensor.
        state: everything that the file holds.
    """

    layout: Layout
    weights: dict[str, Stored]
    state: State

    @property
    def architecture(self) -> Architecture:
        """Equal for networks that are members of one zoo, whatever their tensors are called."""
        return tuple(self.layout.shapes.items())

    def theta(self) -> npt.NDArray[np.float32]:
        """Flat weights ``[size]``.

        Raises:
            BadFile: they cannot be read.
        """
        with bad_file_for_any_error():
            arrays = {name: x.read().astype(np.float32)[None] for name, x in self.weights.items()}
        theta: npt.NDArray[np.float32] = self.layout.theta(arrays)[0]
        return theta


def read_file(path: Path, reading: Reading = PLAIN, allowed: Sequence[str] = ()) -> FileNetwork:
    """The network in a file: the one reader of `dwszoo import` and `dwszoo predict`.

    Args:
        path: of the file.
        reading: what a person asks for.
        allowed: names of tensors beside the network, where the layout is known.

    Raises:
        BadFile: it holds no chain of layers, or anything else that the network may depend on.
    """
    state = read_state(path, reading)
    weights = weights_of(state, allowed)
    tensors = tuple((name, x.shape) for name, x in weights.items())
    try:
        layout = _layout(tensors, state.style, not state.ordered, reading.order)
    except ValueError as error:
        raise BadFile(str(error)) from error
    return FileNetwork(layout, weights, state)


_layout = lru_cache(1024)(layout_of)  # most files of a folder have the same tensors


@dataclass(frozen=True)
class Extra:
    """Columns that are stored in the files themselves.

    Attributes:
        kinds: name -> type.
        of: what a file holds -> name -> value, None where it has none.
    """

    kinds: dict[str, npt.DTypeLike]
    of: Callable[[State], dict[str, Any]]


@dataclass
class Checkpoints:
    """Networks in files of their own.

    Attributes:
        format: the layout's name.
        where: the folder.
        files: a file per row, below the folder.
        listing: of the rows.
        forward_pass: what the networks compute, as far as that is known.
        extra: columns that are stored in the files.
        allowed: names of tensors beside the networks.
        reading: what a person asks for.
        skipped: files left out, because they cannot be imported or have another architecture.
        notes: what a person should know of the listing.
    """

    format: str
    where: Path
    files: list[str]
    listing: Listing
    forward_pass: ForwardPass = UNKNOWN
    extra: Extra | None = None
    allowed: tuple[str, ...] = ()
    reading: Reading = PLAIN
    skipped: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def layout(self) -> Layout:
        """The architecture of the first file."""
        try:
            return self._network(0).layout
        except BadFile as error:
            raise self._refusal(str(error), 0) from error

    def read(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], Columns]:
        """As `Foreign.read`."""
        expected = tuple(self.layout.shapes.items())
        kinds = self.extra.kinds if self.extra else {}
        found: dict[str, list[Any]] = {name: [] for name in kinds}
        theta = np.empty((len(rows), self.layout.space.size), np.float32)
        for i, row in enumerate(rows):
            try:
                network = self._network(int(row))
                if network.architecture != expected:
                    raise BadFile("it is another architecture")
                values = self.extra.of(network.state) if self.extra else {}
                theta[i] = network.theta()
            except BadFile as error:
                raise self._refusal(str(error), int(row)) from error
            for name, column in found.items():
                column.append(values.get(name))
        return theta, {name: masked(found[name], kinds[name]) for name in found}

    def surveyed(
        self, skip_bad: bool, progress: Callable[[int], None] = lambda done: None
    ) -> Checkpoints:
        """The same after a look into every file, with the numbers and texts that they hold.

        Args:
            skip_bad: whether to leave out all files but those of the commonest architecture.
            progress: called with the number of files that were looked at.

        Raises:
            SourceError: no file can be imported, or, unless ``skip_bad``, not all can be.
        """
        survey = _Survey(self, progress)
        if not survey.groups or (not skip_bad and (len(survey.groups) > 1 or survey.bad)):
            raise survey.error()
        rows = max(survey.groups.values(), key=len)
        others = sum(map(len, survey.groups.values())) - len(rows)
        listing = self.listing
        columns = _columns([survey.values[row] for row in rows])
        columns |= {name: column[rows] for name, column in listing.columns.items()}
        kept = replace(
            listing, signal=listing.signal[rows], split=listing.split[rows], columns=columns
        )
        counts = [
            (others, f"files are of another architecture than {survey.described(rows[0])}"),
            (len(survey.bad), f"files could not be imported and were left out{survey.reasons()}"),
        ]
        notes = tuple(f"{count:,} {what}" for count, what in counts if count)
        return replace(
            self,
            files=[self.files[row] for row in rows],
            listing=kept,
            skipped=others + len(survey.bad),
            notes=self.notes + notes,
        )

    def _network(self, row: int) -> FileNetwork:
        return read_file(self.where / self.files[row], self.reading, self.allowed)

    def _refusal(self, reason: str, row: int) -> SourceError:
        """What is wrong with the whole source, now that one of its files has failed."""
        survey = _Survey(self)
        if len(survey.groups) > 1 or survey.bad:
            return survey.error()
        return SourceError(f"{self.where / self.files[row]}: {reason}")


class _Survey:
    """Every file of a source by architecture, or why it has none."""

    def __init__(
        self, source: Checkpoints, progress: Callable[[int], None] = lambda done: None
    ) -> None:
        self.source = source
        self.groups: dict[Architecture, list[int]] = {}
        self.bad: dict[int, str] = {}
        self.values: dict[int, dict[str, Any]] = {}
        for row in range(len(source.files)):
            try:
                network = source._network(row)
                if source.extra:
                    source.extra.of(network.state)
                self.groups.setdefault(network.architecture, []).append(row)
                self.values[row] = {} if source.extra else network.state.values
            except BadFile as error:
                self.bad[row] = str(error)
            progress(row + 1)

    def described(self, row: int) -> str:
        """The architecture of a file in a few words."""
        network = self.source._network(row)
        names = list(network.weights)
        return f"{network.layout} with {names[0]} .. {names[-1]}"

    def reasons(self) -> str:
        """Of the first few bad files."""
        files = self.source.files
        first = [f"{files[row]}: {why}" for row, why in list(self.bad.items())[:EXAMPLES]]
        return f" ({'; '.join(first)})"

    def error(self) -> SourceError:
        """Both kinds of trouble, counted."""
        source, parts = self.source, []
        if len(self.groups) > 1:
            ordered = sorted(self.groups.values(), key=lambda rows: -len(rows))
            kinds = [
                f"{len(rows)} are {self.described(rows[0])} (first: {source.files[rows[0]]})"
                for rows in ordered[:EXAMPLES]
            ]
            more = f" and {len(ordered) - EXAMPLES} more" if len(ordered) > EXAMPLES else ""
            parts.append(f"they have {len(self.groups)} architectures: {'; '.join(kinds)}{more}")
        if self.bad:
            parts.append(f"{len(self.bad)} cannot be imported{self.reasons()}")
        advice = "; move them away, or add --skip-bad to leave out all but the commonest"
        return SourceError(
            f"{source.where}: of {len(source.files)} files, {'; and '.join(parts)}"
            f"{advice if self.groups else ''}"
        )


def _columns(rows: list[dict[str, Any]]) -> Columns:
    """A column per name of a value; text if any is text, masked where a file has none."""
    found: Columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        if any(isinstance(value, str) for value in known):
            dtype: Any = str
        elif all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in known):
            dtype = np.int64
        else:
            dtype = np.float32
        taken = name in CONTRACT | {"theta"} and (name not in TRAINED or dtype is str)
        mask = np.array([value is None for value in values])
        filled = np.array([dtype() if value is None else dtype(value) for value in values])
        found[f"checkpoint_{name}" if taken else name] = (
            np.ma.MaskedArray(filled, mask) if mask.any() else filled
        )
    return found
