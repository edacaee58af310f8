"""Foreign tensors as weights of a space: which layer each belongs to, and how it is turned.

Other people's files hold one tensor per weight and bias, under names of their own. Here they come
into the order of ``torch.nn.utils.parameters_to_vector``: per layer the weight ``(out, in)`` or
``(out, in, *kernel)``, then the bias.
"""

from __future__ import annotations

import re
from collections import Counter
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
MOST_ORDERS = 3  # that an error lists
MOST_LAYERS = 300  # whose order is searched
MOST_STEPS = 20_000  # of a search; beyond it the orders found so far are all
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
    tensors: Sequence[tuple[str, Shape]],
    style: Style = "torch",
    by_name: bool = False,
    order: Sequence[str] | None = None,
) -> Layout:
    """The architecture that these tensors are.

    All orders in which the layers chain are searched. If there is one, it is taken. Of several, the
    one in which the file has them; where a file keeps no order (`by_name`) or its order does not
    chain, the one that the numbers in the names leave, as ``layers.2`` comes before ``layers.10``.

    Args:
        tensors: name and shape of each weight and bias; names end in ``weight`` or ``bias``
            (``kernel`` for Keras and Flax), after ``.`` or ``/``.
        style: ``"torch"``, or ``"keras"``: kernels ``(*kernel, in, out)``.
        by_name: whether the order of `tensors` means nothing, since the file keeps none.
        order: names of all layers from input to output, without ``.weight``; decides.

    Raises:
        ValueError: no layers, a bias alone, layers that do not chain, or that chain in several
            orders of which nothing says which is meant.
    """
    layers = _layers(tensors, style)
    if order is not None:
        return _chained(_named(layers, order), style)
    given = list(layers)
    if not by_name:  # if its own order chains, it is the only one or the one that is meant
        with suppress(ValueError):
            return _chained([layers[name] for name in given], style)
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"it has {len(layers)} layers in no order that chains; give it by --order")
    found = chain_orders(layers, style)
    if len(found) > 1:
        found = chain_orders(layers, style, _numbered_before(given)) or found
    if len(found) > 1:
        raise ValueError(_ambiguous(layers, found, style))
    # where nothing chains, the attempt says at which layers
    first = found[0] if found else sorted(layers, key=_natural) if by_name else given
    return _chained([layers[name] for name in first], style)


def chain_orders(
    layers: Mapping[str, _Layer], style: Style, before: Mapping[str, set[str]] | None = None
) -> list[list[str]]:
    """The first few orders in which all layers chain, each output being the next one's input.

    Args:
        layers: prefix of the names -> layer.
        style: of their shapes.
        before: layer -> those that must come earlier.
    """
    orders: list[list[str]] = []
    path: list[str] = []
    plain = {name: _turned(layer.weight[1], (), style)[0] for name, layer in layers.items()}
    steps = 0

    def extend(shape: Shape) -> None:
        nonlocal steps
        if len(path) == len(layers):
            orders.append(list(path))
        for name, layer in layers.items():
            if len(orders) > MOST_ORDERS or steps > MOST_STEPS:
                return
            if name in path or (before and not before[name] <= set(path)):
                continue
            turned = _turned(layer.weight[1], shape, style)[0]
            if not shape or _follows(shape, turned):
                steps += 1
                path.append(name)
                if _completes(turned, [plain[n] for n in layers if n not in path]):
                    extend(turned)
                path.pop()

    extend(())
    return orders


def _follows(before: Shape, after: Shape) -> bool:
    """Whether a layer of weight ``(out, in, *kernel)`` can come directly after another one."""
    if len(after) == 2 and len(before) > 2:  # flattened images: a multiple of the channels
        return after[1] % before[0] == 0
    return len(after) == len(before) and after[1] == before[0]


def _completes(shape: Shape, rest: list[Shape]) -> bool:
    """Whether the rest may still follow: without this, a search among equal widths has no end.

    Read as edges from input to output width, the layers that follow must be a path over all edges
    (Euler): every width is left as often as it is entered, but for the first and the last.
    """
    kernels = [x for x in rest if len(x) > 2]
    if len(shape) > 2 and not kernels:
        return True  # a flattened image has any multiple of its channels
    if len(shape) == 2 and kernels:
        return False
    edges = kernels or rest
    surplus = Counter(x[1] for x in edges)
    surplus.subtract(x[0] for x in edges)
    uneven = {width: n for width, n in surplus.items() if n}
    if uneven and (uneven.pop(shape[0], 0), sorted(uneven.values())) != (1, [-1]):
        return False
    reached, size = {shape[0]}, 0
    while size < len(reached):
        size = len(reached)
        reached |= {x[0] for x in edges if x[1] in reached}
    return all(x[1] in reached for x in edges)


def _numbered_before(names: list[str]) -> dict[str, set[str]]:
    """Layer -> the layers that have a lower number where their names first differ."""
    parts = {name: _natural(name) for name in names}

    def lower(a: str, b: str) -> bool:
        pair = next(((x, y) for x, y in zip(parts[a], parts[b], strict=False) if x != y), None)
        return pair is not None and pair[0][0] == pair[1][0] == 0 and pair[0] < pair[1]

    return {b: {a for a in names if lower(a, b)} for b in names}


def _named(layers: Mapping[str, _Layer], order: Sequence[str]) -> list[_Layer]:
    """The layers in an order that a person gives."""
    by_name = {name.rstrip("./"): layer for name, layer in layers.items()}
    if sorted(order) != sorted(by_name):
        raise ValueError(
            f"--order names the layers {', '.join(order)}; expected each of "
            f"{', '.join(by_name)} once"
        )
    return [by_name[name] for name in order]


def _ambiguous(layers: Mapping[str, _Layer], found: list[list[str]], style: Style) -> str:
    described = [
        f"{','.join(name.rstrip('./') for name in order)} "
        f"({_chained([layers[name] for name in order], style)})"
        for order in found[:MOST_ORDERS]
    ]
    more = " or others" if len(found) > MOST_ORDERS else ""
    return (
        f"its layers chain in several orders: {' or '.join(described)}{more}; the file does not "
        f"say which one: give it by --order, for example --order {described[0].split(' ')[0]}"
    )


def _several(layers: list[_Layer], style: Style) -> str:
    """Advice where tensors are those of several networks, such as an actor and a critic."""
    parts: dict[str, dict[str, _Layer]] = {}
    for layer in layers:
        names = re.split(r"[./]", layer.weight[0])
        parts.setdefault(names[0], {})[layer.weight[0]] = layer
    alone = [part for part, own in parts.items() if len(own) > 1 and chain_orders(own, style)]
    if len(alone) < 2 or len(layers) > MOST_LAYERS:
        return ""
    return f"; it may hold several networks ({', '.join(alone)}): choose one with --part"


def _chained(layers: list[_Layer], style: Style) -> Layout:
    modules: list[nn.Module] = []
    pieces: list[Piece] = []
    shapes: list[Shape] = []
    before: Shape = ()
    for layer in layers:
        shape, folded, order = _turned(layer.weight[1], before, style)
        if len(shape) in (2, *CONVOLUTIONS) and before and not _follows(before, shape):
            raise ValueError(
                f"{layer.weight[0]} {_by(layer.weight[1])} cannot follow {pieces[-1].name}, which "
                f"has {before[0]} outputs: its layers do not chain{_several(layers, style)}"
            )
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
