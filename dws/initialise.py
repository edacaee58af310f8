r"""The first weights of an equivariant layer: features of order one through depth, at any width.

**One occurrence of each axis.** A tensor x is the sum of its *pure parts*, one for each set A of
its hidden axes: the part that varies along all axes of A and has mean zero along each,

    x_A = sum over B subset of A of (-1)^|A - B| mean of x over all axes outside B.

A layer that maps each part by a matrix of its own, with independent entries of variance
2 / fan-in, keeps the second moment of every part through a ReLU. The layers compute averages, not
pure parts; collecting what is multiplied by each average gives the weights of its term,

    w_B = sum over A containing B of (-1)^|A - B| M_A,        M_A ~ N(0, 2 / fan-in of A).

The fan-in of A is the number of columns of its block: all sources that can keep A. Independent
weights per term instead would multiply the constant part by the number of terms and shrink the
parts that distinguish neurons, more so with each layer. With nested axes, B is any set of axes that
holds the parents of what it holds, and the sum runs over those A that add no axis together with its
parent (the Moebius function of such sets). With pool "sum", w_B is divided by the number of entries
that are summed. A maximum has no pure parts: its terms are independent and share the variance.

**Repeated axes.** The diagonal of W (h, h) is a tensor of its own with axis h, and so is every
other partition of a tensor's occurrences. The formula above holds from each partition of the source
to each partition of the target, for the *effective* weights E: what an entry of the target with
exactly these equal indices depends on. Such an entry also lies in every finer partition f, where a
term p acts as p joined with the entry's partition t. Solving for the weights, finer ones first:

    w_q = E_q - sum over terms p into finer f, with p joined with t equal to q, of w_p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor

from dws.basis import Block, Occurrences, Partition, Way, refines
from dws.space import WeightSpace


@dataclass(frozen=True)
class Cell:
    """One term of the basis and its piece of a block's matrix."""

    gather: Way
    spread: Way
    weight: Tensor


@torch.no_grad()
def draw_weights(
    matrices: Sequence[Tensor],
    blocks: Sequence[Block],
    space: WeightSpace,
    target: WeightSpace,
    pool: str,
) -> None:
    """Fill the matrices of a layer's blocks by the formulas above.

    Args:
        matrices: one per block: rows target by target, columns source by source.
        blocks: of :func:`dws.blocks`.
        space: of the sources.
        target: of the targets.
        pool: how the layer summarises axes.
    """
    pairs: dict[tuple[str, str], dict[Partition, Cell]] = {}
    ways_into: dict[tuple[str, Partition], int] = {}
    for block, matrix in zip(blocks, matrices, strict=True):
        matrix.normal_(std=sqrt(2.0 / matrix.shape[1]))
        rows = matrix.split(
            _shares([target.fixed_size(t.tensor) for t in block.targets], matrix, 0)
        )
        columns = _shares([space.fixed_size(s.tensor) for s in block.sources], matrix, 1)
        for t, row in zip(block.targets, rows, strict=True):
            ways_into[t.tensor, t.ties] = ways_into.get((t.tensor, t.ties), 0) + 1
            for s, weight in zip(block.sources, row.split(columns, 1), strict=True):
                offset = len(space.hidden_axes(s.tensor))
                cells = pairs.setdefault((s.tensor, t.tensor), {})
                cells[_joined(s, t, offset)] = Cell(s, t, weight)
    of_space, of_target = Occurrences(space), Occurrences(target)
    for (source, name), cells in pairs.items():
        if pool == "max":
            for cell in cells.values():
                cell.weight.div_(sqrt(ways_into[name, cell.spread.ties]))
        else:
            _from_pure_parts(list(cells.values()), of_space, source)
        _from_effective(cells, of_target.partitions(name), len(space.hidden_axes(source)))
        if pool == "sum":
            axes = space.hidden_axes(source)
            for cell in cells.values():
                cell.weight.div_(prod(space.sizes[axes[tie[0]]] for tie in cell.gather.rest))


def _from_pure_parts(cells: list[Cell], occurrences: Occurrences, source: str) -> None:
    """From the matrices of pure parts to the weights of averages."""
    drawn = [cell.weight.clone() for cell in cells]
    pairs = [frozenset(zip(c.gather.kept, c.spread.kept, strict=True)) for c in cells]
    axes, above = occurrences.space.hidden_axes(source), occurrences.owners[source]
    for cell, kept in zip(cells, pairs, strict=True):
        held = {occurrence for tie in cell.gather.kept for occurrence in tie}
        larger = []
        for other, matrix, more in zip(cells, drawn, pairs, strict=True):
            alike = (other.gather.ties, other.spread.ties) == (cell.gather.ties, cell.spread.ties)
            if alike and kept < more:
                added = sorted((axes[s[0]], s, t) for s, t in more - kept)
                if all(above[s[0]] in (None, *held) for _, s, _ in added):
                    larger.append((len(added), added, matrix))
        for count, _, matrix in sorted(larger, key=lambda found: found[:2]):
            cell.weight.add_((-1) ** count * matrix)


def _from_effective(
    cells: dict[Partition, Cell], partitions: Sequence[Partition], offset: int
) -> None:
    """From effective weights to weights, where a target has more than one partition."""
    for p, cell in sorted(cells.items(), key=lambda found: -len(found[1].spread.ties)):
        for coarser in partitions:
            if coarser != cell.spread.ties and refines(cell.spread.ties, coarser):
                shifted = tuple(tuple(offset + i for i in tie) for tie in coarser)
                cells[_merged(p, shifted)].weight.sub_(cell.weight)


def _joined(gather: Way, spread: Way, offset: int) -> Partition:
    """The partition of the occurrences of source and target together that a term stands for."""
    target = {way: tuple(offset + i for i in way) for way in spread.ties}
    both = [(*s, *target[t]) for s, t in zip(gather.kept, spread.kept, strict=True)]
    return tuple(sorted([*both, *gather.rest, *(target[t] for t in spread.rest)]))


def _merged(p: Partition, ties: Partition) -> Partition:
    """The finest partition that joins what either joins."""
    found = {i: frozenset(tie) for tie in p for i in tie}
    for tie in ties:
        union = frozenset().union(*(found[i] for i in tie))
        found.update(dict.fromkeys(union, union))
    return tuple(sorted(tuple(sorted(tie)) for tie in set(found.values())))


def _shares(sizes: list[int], matrix: Tensor, dim: int) -> list[int]:
    """Cuts of a dimension in proportion to sizes: each is as many channels for every size."""
    channels = matrix.shape[dim] // sum(sizes)
    return [size * channels for size in sizes]
