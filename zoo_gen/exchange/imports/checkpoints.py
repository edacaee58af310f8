"""A file per network: state dicts in ``.pth``, ``.pt`` or ``.safetensors``."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo_gen.errors import SourceError
from zoo_gen.exchange.imports.layers import Layout, Shape, is_weight, layout_of
from zoo_gen.exchange.imports.listing import Listing, masked
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.zoo.shards import Columns

State = dict[str, Any]
Tensors = tuple[tuple[str, Shape], ...]
EXAMPLES = 3

# arrays of plain numbers, as NumPy 1 and 2 pickle them; whatever they contain is checked as well
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
SAFE: list[Any] = [
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),
    (_RECONSTRUCT, "numpy._core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]


class BadFile(Exception):
    """A file that is no network; says why."""


@dataclass(frozen=True)
class Extra:
    """Columns that lie in the files themselves.

    Attributes:
        kinds: name -> type.
        of: a file's content -> name -> value, None where it has none.
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
        extra: columns that lie in the files.
        strict: whether a tensor that belongs to no layer is refused.
        skipped: files left out because they could not be imported.
    """

    format: str
    where: Path
    files: list[str]
    listing: Listing
    forward_pass: ForwardPass = UNKNOWN
    extra: Extra | None = None
    strict: bool = False
    skipped: int = 0
    _tensors: Tensors = field(default=(), repr=False)

    @cached_property
    def layout(self) -> Layout:
        """The architecture of the first file."""
        try:
            self._tensors = self._tensors or _tensors(self._state(0), self.strict)
            return self._layout_of(self._tensors)
        except (BadFile, ValueError) as error:
            raise self._refusal(str(error), 0) from error

    def read(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], Columns]:
        """As `Foreign.read`."""
        layout = self.layout
        weights: dict[str, list[npt.NDArray[Any]]] = {name: [] for name, _ in self._tensors}
        kinds = self.extra.kinds if self.extra else {}
        found: dict[str, list[Any]] = {name: [] for name in kinds}
        for row in rows:
            try:
                state = self._state(int(row))
                if _tensors(state, self.strict) != self._tensors:
                    raise BadFile("it is another architecture")
                values = self.extra.of(state) if self.extra else {}
            except BadFile as error:
                raise self._refusal(str(error), int(row)) from error
            for name, tensors in weights.items():
                tensors.append(_array(state[name]))
            for name, column in found.items():
                column.append(values.get(name))
        theta = layout.theta({name: np.stack(tensors) for name, tensors in weights.items()})
        return theta, {name: masked(found[name], kinds[name]) for name in found}

    def without_bad(self, progress: Callable[[int], None] = lambda done: None) -> Checkpoints:
        """The same, with files of the commonest architecture alone.

        Raises:
            SourceError: no file can be imported.
        """
        groups, bad = self._survey(progress)
        if not groups:
            raise self._told(groups, bad)
        tensors, rows = max(groups.items(), key=lambda item: len(item[1]))
        listing = self.listing
        kept = Listing(
            listing.signal[rows],
            listing.split[rows],
            listing.fingerprint,
            {name: column[rows] for name, column in listing.columns.items()},
        )
        files = [self.files[row] for row in rows]
        skipped = len(self.files) - len(files)
        return replace(self, files=files, listing=kept, skipped=skipped, _tensors=tensors)

    def _layout_of(self, tensors: Tensors) -> Layout:
        # a .safetensors file does not keep the order in which its tensors were written
        return layout_of(tensors, by_name=self.files[0].endswith(".safetensors"))

    def _state(self, row: int) -> State:
        return read_state(self.where / self.files[row])

    def _refusal(self, reason: str, row: int) -> SourceError:
        """What is wrong with the whole source, now that one of its files has failed."""
        groups, bad = self._survey()
        if len(groups) > 1 or bad:
            return self._told(groups, bad)
        return SourceError(f"{self.where / self.files[row]}: {reason}")

    def _survey(
        self, progress: Callable[[int], None] = lambda done: None
    ) -> tuple[dict[Tensors, list[int]], dict[int, str]]:
        """Rows by architecture, and why the others are none."""
        groups: dict[Tensors, list[int]] = {}
        layouts: set[Tensors] = set()
        bad: dict[int, str] = {}
        for row in range(len(self.files)):
            try:
                state = self._state(row)
                tensors = _tensors(state, self.strict)
                if self.extra:
                    self.extra.of(state)
                if tensors not in layouts:
                    self._layout_of(tensors)
                    layouts.add(tensors)
                groups.setdefault(tensors, []).append(row)
            except (BadFile, ValueError) as error:
                bad[row] = str(error)
            progress(row + 1)
        return groups, bad

    def _told(self, groups: dict[Tensors, list[int]], bad: dict[int, str]) -> SourceError:
        parts = []
        if len(groups) > 1:
            ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
            kinds = [
                f"{len(rows)} are {self._layout_of(tensors)} with {tensors[0][0]} .. "
                f"{tensors[-1][0]} (first: {self.files[rows[0]]})"
                for tensors, rows in ordered[:EXAMPLES]
            ]
            more = f" and {len(ordered) - EXAMPLES} more" if len(ordered) > EXAMPLES else ""
            parts.append(f"they have {len(groups)} architectures: {'; '.join(kinds)}{more}")
        if bad:
            first = [f"{self.files[row]}: {why}" for row, why in list(bad.items())[:EXAMPLES]]
            parts.append(f"{len(bad)} cannot be imported ({'; '.join(first)})")
        advice = "; move them away, or add --skip-bad to leave out all but the commonest"
        return SourceError(
            f"{self.where}: of {len(self.files)} files, {'; and '.join(parts)}"
            f"{advice if groups else ''}"
        )


def read_state(path: Path) -> State:
    """The state dict of a file; no code of the file is ever run.

    Raises:
        BadFile: it is no state dict, or holds other things than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with torch.serialization.safe_globals(SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's dialects; what it refuses, it raises
            # a Path would be turned to text again and again inside: a seventh of the time
            state = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file makes the readers raise
        raise BadFile(_why(error)) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise BadFile(f"it holds a {type(state).__name__}, expected a state dict")
    return state


def _why(error: Exception) -> str:
    if code := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it holds more than tensors ({code[1]}), and running its code is refused"
    if isinstance(error, pickle.UnpicklingError):  # whose text advises to switch safety off
        return "it cannot be read (no file of torch.save)"
    lines = str(error).strip().splitlines()
    return f"it cannot be read ({lines[0] if lines else type(error).__name__})"


def numbers(state: State) -> dict[str, Any]:
    """The plain numbers of a state dict, such as a ``label``."""
    found = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.numel() == 1 and not is_weight(name):
            value = value.item()
        if isinstance(value, int | float | np.number):
            found[name] = value
    return found


def _tensors(state: State, strict: bool) -> Tensors:
    found = []
    for name, value in state.items():
        if isinstance(value, Tensor) and is_weight(name):
            if not value.is_floating_point() or value.layout is not torch.strided:
                raise BadFile(f"{name} is of the type {value.dtype}, expected dense floats")
            found.append((name, tuple(value.shape)))
        elif strict and isinstance(value, Tensor) and value.numel() > 1:
            raise BadFile(f"it has the tensor {name}, which is no weight or bias of a layer")
    return tuple(found)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    return tensor.detach().float().numpy()
