"""Canonical forms of weights: one network for all that differ by the symmetries of an activation.

What `dws.symmetries` draws at random is undone here. Permutations are left to equivariant layers
(or to `dws.align`): these forms commute with them.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dws.neurons import Layer, Symmetry, holding, parity
from dws.space import WeightSpace
from dws.symmetries import half_period_of, split_weights

CanonicalKind = Literal["sine", "relu"]


def canonical_sine(space: WeightSpace, theta: Tensor, w0: float = 30.0) -> Tensor:
    """The same sine networks with every hidden phase ``w0 b`` in [0, pi/2].

    Half periods are taken off (``sin(z + pi) = -sin z``), then the neuron is negated where its
    phase is negative (``sin(-z) = -sin z``). Where it is zero the sign makes the sum of the weights
    that come in positive or zero. Weights that differ by `flip_signs` and `shift_phases` have one
    canonical form; it commutes with permutations. It jumps where a phase crosses a multiple of
    pi/2: there neighbours can get opposite signs.

    Args:
        space: of the weights; every hidden axis has one weight tensor and one bias coming in.
        theta: ``[m, size]``.
        w0: frequency of the units, ``sin(w0 (W x + b))``.

    Raises:
        ValueError: a w0 that is not positive, or another space.
    """
    half_period = half_period_of(w0)
    x = split_weights(space, theta)
    for layer in _upward(space, "signs", "phases", w0=w0):
        b = x[layer.bias].squeeze(-1)
        k = torch.round(b / half_period)
        b = b - k * half_period
        total = torch.zeros_like(b)
        for name in layer.weights:
            total = total + layer.rows(x, name).sum(-1)
        sign = torch.where(torch.where(b == 0, total, b) < 0, -1.0, 1.0).to(theta.dtype)
        x = layer.scaled(x, sign, sign * parity(k))
        x[layer.bias] = b.abs().unsqueeze(-1)
    return space.flatten(x)


def canonical_relu(space: WeightSpace, theta: Tensor) -> Tensor:
    """The same ReLU networks with what comes in to every hidden neuron of Euclidean norm 1.

    Layer after layer from the input upward, a neuron's incoming weights and bias are divided by
    their norm, and what goes out is multiplied by it. A neuron that next to nothing comes in to
    (norm 0, or below 2e-19 in float32) is left as it is. Weights that differ by `rescale` have one
    canonical form, save what goes out of such a neuron; it commutes with permutations.

    Args:
        space: of the weights; no hidden axis has more than one weight tensor coming in.
        theta: ``[m, size]``.

    Raises:
        ValueError: another space.
    """
    x = split_weights(space, theta)
    for layer in _upward(space, "scales"):
        norm = layer.rows(x).norm(dim=-1)
        # zero, or so small that its square underflows: always off
        least = 4 / torch.finfo(norm.dtype).max ** 0.5
        norm = torch.where(norm > least, norm, torch.ones_like(norm))
        x = layer.scaled(x, 1 / norm, norm)
    return space.flatten(x)


class Canonical(nn.Module):
    """`canonical_sine` or `canonical_relu` as a first layer; it has no parameters.

    Args:
        space: of the weights.
        kind: ``"sine"`` or ``"relu"``: the activation of the networks that come in.
        w0: frequency of the sine units; unused by ``"relu"``.

    Raises:
        ValueError: another kind, or a space or w0 that the kind does not admit.
    """

    def __init__(self, space: WeightSpace, kind: CanonicalKind, w0: float = 30.0) -> None:
        super().__init__()
        if kind not in get_args(CanonicalKind):
            raise ValueError(f"kind: got {kind!r}, expected 'sine' or 'relu'")
        self.space, self.kind, self.w0 = space, kind, w0
        self(torch.zeros(1, space.size))  # a space without this form is refused now

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, size]``."""
        if self.kind == "sine":
            return canonical_sine(self.space, theta, self.w0)
        return canonical_relu(self.space, theta)


def _upward(space: WeightSpace, *symmetries: Symmetry, w0: float | None = None) -> list[Layer]:
    """The layers that have these symmetries, each after those that its weights come from."""
    first, *others = (holding(space, name, w0) for name in symmetries)
    waiting = [layer for layer in first if all(layer in other for other in others)]
    ordered: list[Layer] = []
    while waiting:
        later = {name for layer in waiting for name in layer.outgoing}
        ready = [layer for layer in waiting if not later.intersection(layer.weights)]
        if not ready:
            raise ValueError(
                f"the hidden axes {[layer.axis for layer in waiting]} feed each other in a cycle; "
                "a canonical form needs layers that lie in an order"
            )
        ordered += ready
        waiting = [layer for layer in waiting if layer not in ready]
    return ordered
