"""Where each tensor of a space is stored in the flat vector, when it is not simply the next block.

A parameter whose rows are two axes one after the other (a residual that adds only the first
channels, concatenated branches) is several tensors of the space, each a strided box of the
parameter's entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """Entry ``(i, j, ...)`` of a tensor is entry ``offset + i s_0 + j s_1 + ...`` of the vector.

    Attributes:
        offset: of the first entry.
        strides: one per axis, each at least the extent of the axes after it (row-major).
    """

    offset: int
    strides: tuple[int, ...]


Shapes = Mapping[str, tuple[int, ...]]


def positions(box: Box, shape: tuple[int, ...]) -> Tensor:
    """The entries of the flat vector that a tensor has, in its own order, int64 ``[n]``."""
    at = torch.tensor([box.offset])
    for size, stride in zip(shape, box.strides, strict=True):
        at = (at.unsqueeze(-1) + torch.arange(size) * stride).flatten()
    return at


def order_of(layout: Mapping[str, Box], shapes: Shapes) -> Tensor:
    """For each entry of the flat vector its place among the tensors joined one after the other.

    Raises:
        ValueError: the tensors overlap, or leave out entries.
    """
    joined = torch.cat([positions(layout[name], shape) for name, shape in shapes.items()])
    order = joined.argsort()
    if not torch.equal(joined[order], torch.arange(len(joined))):
        raise ValueError("layout: the tensors overlap or do not cover the flat vector")
    return order


def box_view(flat: Tensor, box: Box, shape: tuple[int, ...]) -> Tensor:
    """A view ``[m, *shape, c]`` of ``[m, size, c]``, of operations that compile and vectorise."""
    view, rest = flat, box.offset  # rest: offset within the last dimension cut so far
    for dim, (size, stride) in enumerate(zip(shape, box.strides, strict=True), start=1):
        # the rows may end before the last one is complete: begin earlier, and go on from there
        inside = max(0, rest + size * stride - view.shape[dim])
        view = view.narrow(dim, rest - inside, size * stride).unflatten(dim, (size, stride))
        rest = inside
    return view.select(1 + len(shape), rest)
