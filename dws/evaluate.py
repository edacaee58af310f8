"""Run the networks whose weights are data: m of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dws.space import WeightSpace

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
}


def forward(
    space: WeightSpace,
    theta: Tensor,
    x: Tensor,
    activation: str | Callable[[Tensor], Tensor] = "sine",
    w0: float = 30.0,
    scaled_bias: bool = True,
) -> Tensor:
    """Evaluate m networks at once: ``h_k = activation(W_k h_{k-1} + b_k)``, the last layer linear.

    Args:
        space: of an MLP.
        theta: weights ``[m, size]``.
        x: inputs ``[m, points, d_0]``, or ``[1, points, d_0]`` shared by all networks.
        activation: of the hidden layers: ``"sine"`` (``sin(w0 z)``, Sitzmann et al. 2020),
            ``"relu"``, ``"tanh"``, ``"gelu"``, or any elementwise function.
        w0: frequency of ``"sine"``; unused by the others.
        scaled_bias: whether w0 multiplies the bias of ``"sine"`` too; else ``sin(w0 W x + b)``.

    Returns:
        ``[m, points, d_M]``.

    Raises:
        ValueError: an unknown activation, a space that is not an MLP's, or a wrong shape.
    """
    return list(responses(space, theta, x, activation, w0, scaled_bias))[-1]


def responses(
    space: WeightSpace,
    theta: Tensor,
    x: Tensor,
    activation: str | Callable[[Tensor], Tensor] = "sine",
    w0: float = 30.0,
    scaled_bias: bool = True,
) -> Iterator[Tensor]:
    """What every layer answers: :func:`forward` with ``[m, points, d_k]`` for k = 1 .. M."""
    widths = space.widths
    f = hidden_activation(activation, w0)
    if theta.ndim != 2:
        raise ValueError(f"expected weights [m, {space.size}], got {list(theta.shape)}")
    if x.ndim != 3 or x.shape[2] != widths[0] or x.shape[0] not in (1, theta.shape[0]):
        raise ValueError(
            f"expected inputs [{theta.shape[0]} or 1, points, {widths[0]}], got {list(x.shape)}"
        )
    tensors = space.split(theta)
    h = x.expand(theta.shape[0], -1, -1)
    for k in range(1, len(widths)):
        weight = tensors[f"W{k}"][..., 0].transpose(1, 2)
        if f"b{k}" in tensors:
            bias = tensors[f"b{k}"][..., 0].unsqueeze(1)
            if activation == "sine" and not scaled_bias and k < len(widths) - 1:
                bias = bias / w0
            h = torch.baddbmm(bias, h, weight)
        else:
            h = torch.bmm(h, weight)
        if k < len(widths) - 1:
            h = f(h)
        yield h


def hidden_activation(
    activation: str | Callable[[Tensor], Tensor], w0: float
) -> Callable[[Tensor], Tensor]:
    """The function that an activation's name stands for."""
    if callable(activation):
        return activation
    if activation == "sine":
        return lambda z: torch.sin(w0 * z)
    if activation not in ACTIVATIONS:
        allowed = ", ".join(["sine", *ACTIVATIONS])
        raise ValueError(f"activation {activation!r} is not known; choose one of {allowed}")
    return ACTIVATIONS[activation]
