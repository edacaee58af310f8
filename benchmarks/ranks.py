"""Does a layer hold every equivariant linear map, once? Rank, weights, formula and count compared.

    python benchmarks/ranks.py

Rank: of the maps that each weight of an `EquivariantLinear` alone makes, in float64. Count: mean of
squared traces over every element of the group, by brute force, hidden widths reduced to 2, or to
the number of times that a hidden axis appears in two tensors together (the dimension does not
depend on widths from there upward).
The oracles are those of the tests (``tests/dws/equivariance.py``); they share no code with `dws`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

from torch import nn

from dws import EquivariantLinear, WeightSpace, dimension

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dws"))
from equivariance import group_elements, rank_of_maps, traces


def convolutions(pooled: bool) -> nn.Module:
    """Two 3x3 convolutions and two linear layers."""
    between = [nn.AdaptiveAvgPool2d(1)] if pooled else []
    first = nn.Linear(4 if pooled else 4 * 4, 5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), *between, nn.Flatten(), first,
        nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip


SPACES = {
    "MLP 2-32-32-1": WeightSpace.mlp([2, 32, 32, 1]),
    "MLP 2-32-32-3": WeightSpace.mlp([2, 32, 32, 3]),
    "MLP 1-32-32-1": WeightSpace.mlp([1, 32, 32, 1]),
    "MLP 2-32-1": WeightSpace.mlp([2, 32, 1]),
    "MLP 2-3-3-3-2": WeightSpace.mlp([2, 3, 3, 3, 2]),
    "MLP 2-8-8-1, no biases": WeightSpace.mlp([2, 8, 8, 1], bias=False),
    "MLP 2-8-8-3, inputs and outputs permutable": WeightSpace.mlp([2, 8, 8, 3]).permutable(
        "n0", "n3"
    ),
    "CNN, flattened": WeightSpace.from_module(convolutions(False)),
    "CNN, globally pooled": WeightSpace.from_module(convolutions(True)),
    "residual block": WeightSpace(
        {
            "W1": ("h", "in"), "b1": ("h",), "W2": ("k", "h"), "b2": ("k",),
            "W3": ("h", "k"), "b3": ("h",), "W4": ("out", "h"), "b4": ("out",),
        },
        {"in": 2, "h": 8, "k": 6, "out": 2},
        ("h", "k"),
    ),
    "recurrent matrix and bias": WeightSpace({"W": ("h", "h"), "b": ("h",)}, {"h": 8}, ("h",)),
    "Elman RNN, 2 in, 8 hidden, 1 out": WeightSpace(
        {
            "Wx": ("h", "in"), "Wh": ("h", "h"), "bx": ("h",), "bh": ("h",), "Wy": ("out", "h"),
            "by": ("out",),
        },
        {"in": 2, "h": 8, "out": 1},
        ("h",),
    ),
    "LSTM, 1 in, 6 hidden": WeightSpace(
        {
            "Wx": ("gate", "h", "in"), "Wh": ("gate", "h", "h"), "bx": ("gate", "h"),
            "bh": ("gate", "h"),
        },
        {"in": 1, "gate": 4, "h": 6},
        ("h",),
    ),
    "residual convolution with batch norm": WeightSpace(
        {
            "K0": ("h", "in", "taps"), "K1": ("h", "h", "taps"), "scale": ("h",), "shift": ("h",),
            "mean": ("h",), "variance": ("h",), "W": ("out", "h"),
        },
        {"in": 1, "h": 6, "taps": 3, "out": 2},
        ("h",),
    ),
    "attention with two heads of three": WeightSpace(
        {
            "Q": ("head", "d", "e"), "K": ("head", "d", "e"), "V": ("head", "v", "e"),
            "O": ("e", "head", "v"), "q": ("head", "d"), "o": ("e",),
        },
        {"head": 2, "d": 3, "v": 3, "e": 4},
        ("head", "d", "v", "e"),
        {"d": "head", "v": "head"},
    ),
}  # fmt: skip


def count(space: WeightSpace) -> float:
    """Dimension of the equivariant maps, from the characters of the group."""
    sizes = dict(space.sizes)
    for axis in space.hidden:
        sizes[axis] = max(2, 2 * max(axes.count(axis) for axes in space.axes.values()))
    small = WeightSpace(space.axes, sizes, space.hidden, space.parents)
    return fmean(t**2 for t in traces(small, group_elements(small)))


def main() -> None:
    """Print the table; exit 1 where the numbers differ."""
    print("| space | rank | weights | formula | count |\n|---|---|---|---|---|")
    wrong = False
    for name, space in SPACES.items():
        rank, weights = rank_of_maps(EquivariantLinear(space, 1, 1, bias=False).double())
        numbers = [rank, weights, dimension(space), round(count(space), 6)]
        wrong |= len({float(n) for n in numbers}) > 1
        print(f"| {name} | " + " | ".join(f"{n:g}" for n in numbers) + " |")
    raise SystemExit(int(wrong))


if __name__ == "__main__":
    main()
