"""Foreign tensors as weights of a space: which layer each belongs to, and how it is turned.

Other people's files hold one tensor per weight and bias, under names of their own. Here they come
into the order of ``torch.nn.utils.parameters_to_vector``: per layer the weight ``(out, in)`` or
``(out, in, *kernel)``, then the bias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from dws import WeightSpace

Style = Literal["torch", "keras"]
Shape = tuple[int, ...]
CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
LEAVES = {"torch": {"weight": "W", "bias": "b"}, "keras": {"kernel": "W", "bias": "b"}}


@dataclass(frozen=True)
class Piece:
    """A tensor of the source and what makes it one of torch.

    Attributes:
        name: in the source.
        stored: shape in the source.
        folded: shape in which it is viewed, then
        order: the order into which its axes are brought.
    """

    name: str
    stored: Shape
    folded: Shape
    order: Shape


@dataclass(frozen=True)
class Layout:
    """The architecture of a source's networks.

    Attributes:
        space: their weight space.
        shapes: name of a tensor of the space -> its shape in torch (a kernel's taps apart).
        pieces: the source's tensors, in the order of the space.
    """

    space: WeightSpace
    shapes: dict[str, Shape]
    pieces: tuple[Piece, ...]

    def theta(self, tensors: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Flat weights.

        Args:
            tensors: name in the source -> ``[k, *stored]``.

        Returns:
            float32 ``[k, size]``.
        """
        parts = []
        for piece in self.pieces:
            x = tensors[piece.name]
            turned = x.reshape(len(x), *piece.folded).transpose(0, *(a + 1 for a in piece.order))
            parts.append(turned.reshape(len(x), -1).astype(np.float32, copy=False))
        return np.concatenate(parts, axis=1)

    def __str__(self) -> str:
        try:
            return "-".join(str(d) for d in self.space.widths)
        except ValueError:
            return ", ".join(_layer_name(s) for n, s in self.shapes.items() if n[0] == "W")


@dataclass(frozen=True)
class _Layer:
    """A weight and perhaps a bias, with their shapes in the source."""

    weight: tuple[str, Shape]
    bias: tuple[str, Shape] | None


@lru_cache(4096)  # the same few names come once per file
def is_weight(name: str, style: Style = "torch") -> bool:
    """Whether a tensor of this name is the weight or bias of a layer."""
    return _leaf(name) in LEAVES[style]


def layout_of(
    tensors: Sequence[tuple[str, Shape]], style: Style = "torch", by_name: bool = False
) -> Layout:
    """The architecture that these tensors are.

    Layers are taken in the order in which they come, or, if they do not chain so, in that of their
    names with numbers read as numbers.

    Args:
        tensors: name and shape of each weight and bias; names end in ``weight`` or ``bias``
            (``kernel`` for Keras and Flax), after ``.`` or ``/``.
        style: ``"torch"``, or ``"keras"``: kernels ``(*kernel, in, out)``.
        by_name: whether the order of names is tried first, since a file keeps no other.

    Raises:
        ValueError: no layers, a bias alone, or layers that do not chain.
    """
    layers = _layers(tensors, style)
    given, natural = list(layers), sorted(layers, key=_natural)
    first, second = (natural, given) if by_name else (given, natural)
    try:
        return _chained([layers[name] for name in first], style)
    except ValueError as error:
        with suppress(ValueError):
            return _chained([layers[name] for name in second], style)
        raise error


def _chained(layers: list[_Layer], style: Style) -> Layout:
    modules: list[nn.Module] = []
    pieces: list[Piece] = []
    shapes: list[Shape] = []
    before: Shape = ()
    for layer in layers:
        shape, folded, order = _turned(layer.weight[1], before, style)
        modules += _modules(layer, shape, before)
        pieces.append(Piece(*layer.weight, folded, order))
        shapes.append(shape)
        if layer.bias is not None:
            name, stored = layer.bias
            if stored != shape[:1]:
                raise ValueError(
                    f"{name} has the shape {_by(stored)}, but {layer.weight[0]} has {shape[0]} "
                    "outputs"
                )
            pieces.append(Piece(name, stored, stored, (0,)))
            shapes.append(stored)
        before = shape
    space = WeightSpace.from_module(nn.Sequential(*modules))
    return Layout(space, dict(zip(space.names, shapes, strict=True)), tuple(pieces))


def _turned(stored: Shape, before: Shape, style: Style) -> tuple[Shape, Shape, Shape]:
    """The weight's shape in torch, the shape to view it in and the order of its axes."""
    n = len(stored)
    if style == "torch":
        return stored, stored, tuple(range(n))
    if n == 2 and len(before) > 2 and stored[0] > before[0] and stored[0] % before[0] == 0:
        # Keras flattens an image places first, torch channels first
        places = stored[0] // before[0]
        return stored[::-1], (places, before[0], stored[1]), (2, 1, 0)
    order = (n - 1, n - 2, *range(n - 2))
    return tuple(stored[a] for a in order), stored, order


def _modules(layer: _Layer, shape: Shape, before: Shape) -> list[nn.Module]:
    bias = layer.bias is not None
    if len(shape) == 2:
        linear = nn.Linear(shape[1], shape[0], bias=bias, device="meta")
        return [nn.Flatten(), linear] if len(before) > 2 else [linear]
    if len(shape) not in CONVOLUTIONS:
        raise ValueError(
            f"{layer.weight[0]} has the shape {_by(shape)}; only linear layers and convolutions "
            "can be read"
        )
    make: Callable[..., nn.Module] = CONVOLUTIONS[len(shape)]
    return [make(shape[1], shape[0], shape[2:], bias=bias, device="meta")]


def _layers(tensors: Sequence[tuple[str, Shape]], style: Style) -> dict[str, _Layer]:
    found: dict[str, dict[str, tuple[str, Shape]]] = {}
    for name, shape in tensors:
        kind = LEAVES[style].get(_leaf(name))
        if kind is None:
            raise ValueError(f"{name} is no weight or bias of a layer")
        prefix = name.removesuffix(":0").removesuffix(_leaf(name))
        found.setdefault(prefix, {})[kind] = (name, shape)
    if not found:
        raise ValueError("it holds no weights of layers")
    for prefix, parts in found.items():
        if "W" not in parts:
            missing = next(leaf for leaf, kind in LEAVES[style].items() if kind == "W")
            raise ValueError(f"it has {parts['b'][0]} but lacks {prefix}{missing}")
    return {prefix: _Layer(parts["W"], parts.get("b")) for prefix, parts in found.items()}


def _leaf(name: str) -> str:
    return re.split(r"[./]", name.removesuffix(":0"))[-1]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key that reads numbers as numbers: layer 10 comes after layer 9."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.findall(r"\d+|\D+", name)]


def _by(shape: Shape) -> str:
    return "x".join(str(d) for d in shape) or "()"


def _layer_name(shape: Shape) -> str:
    kernel = f"conv {_by(shape[2:])}" if len(shape) > 2 else "linear"
    return f"{kernel} {shape[1]}>{shape[0]}"
