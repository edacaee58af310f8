"""Run the networks whose weights are data: m of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from dws.space import WeightSpace

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
}


def forward(
    space: WeightSpace,
    theta: Tensor,
    x: Any,
    activation: str | Callable[[Tensor], Tensor] = "sine",
    w0: float = 30.0,
    scaled_bias: bool = True,
) -> Tensor:
    """Evaluate m networks at once.

    An MLP is ``h_k = activation(W_k h_{k-1} + b_k)``, the last layer linear. Networks of another
    space are run by the module that the space was derived from, in evaluation mode.

    Args:
        space: of an MLP, or derived from a module with example inputs.
        theta: weights ``[m, size]``.
        x: of an MLP ``[m, points, d_0]``, or ``[1, points, d_0]`` shared by all networks; of a
            module what it takes with a first dimension of m or 1, or a tuple of such inputs.
        activation: of the hidden layers of an MLP: ``"sine"`` (``sin(w0 z)``, Sitzmann et al.
            2020), ``"relu"``, ``"tanh"``, ``"gelu"``, or any elementwise function. A module has its
            own.
        w0: frequency of ``"sine"``; unused by the others.
        scaled_bias: whether w0 multiplies the bias of ``"sine"`` too; else ``sin(w0 W x + b)``.

    Returns:
        ``[m, points, d_M]``; of a module what it returns (several tensors,
        where it returns several), with a first dimension of m.

    Raises:
        ValueError: an unknown activation, a space of neither kind, or a wrong shape.
    """
    if not space.is_mlp:
        return cast(Tensor, _run(space, theta, x if isinstance(x, tuple) else (x,)))
    return list(responses(space, theta, x, activation, w0, scaled_bias))[-1]


def _run(space: WeightSpace, theta: Tensor, inputs: tuple[Any, ...]) -> Any:
    module = space.origin.module if space.origin else None
    if space.origin is None or module is None:
        raise ValueError(
            f"{space}: it is neither an MLP's nor was it derived with example inputs, so that its "
            "networks cannot be run; use WeightSpace.from_module(module, *inputs)"
        )
    if theta.ndim != 2 or theta.shape[1] != space.size:
        raise ValueError(f"expected weights [m, {space.size}], got {list(theta.shape)}")
    if not (m := len(theta)):
        one_network = _run(space, theta.new_zeros(1, space.size), inputs)
        return tree_map(lambda y: y[:0], one_network)
    for x in inputs:
        if isinstance(x, Tensor) and (not x.ndim or x.shape[0] not in (1, m)):
            raise ValueError(f"expected inputs [{m} or 1, ...], got {list(x.shape)}")
    own = dict(module.named_buffers())
    shapes = {n: p.shape for n, p in module.named_parameters()}
    shapes |= {n: own[n].shape for n in space.origin.buffers}
    constants = {
        n: b.to(theta.device, theta.dtype if b.is_floating_point() else b.dtype)
        for n, b in own.items()
    }
    shared = [not isinstance(x, Tensor) or x.shape[0] == 1 for x in inputs]
    given = [
        x[0] if s and isinstance(x, Tensor) else x for x, s in zip(inputs, shared, strict=True)
    ]
    dims = tuple(None if s else 0 for s in shared)

    def one(weights: Tensor, *given: Any) -> Any:
        parts = weights.split([prod(s) for s in shapes.values()])
        state = {n: w.view(s) for (n, s), w in zip(shapes.items(), parts, strict=True)}
        return functional_call(module, {**constants, **state}, given)

    # the kernel of plain operations is the one that vectorises
    with evaluating(module), sdpa_kernel(SDPBackend.MATH):
        if not any(isinstance(layer, nn.RNNBase) for layer in module.modules()):
            return torch.vmap(one, in_dims=(0, *dims))(theta, *given)
        # torch's recurrent layers do not vectorise over their weights
        rows = [
            one(w, *(x if s else x[k] for x, s in zip(given, shared, strict=True)))
            for k, w in enumerate(theta)
        ]
        return tree_map(lambda *parts: torch.stack(parts), *rows)


def responses(
    space: WeightSpace,
    theta: Tensor,
    x: Tensor,
    activation: str | Callable[[Tensor], Tensor] = "sine",
    w0: float = 30.0,
    scaled_bias: bool = True,
) -> Iterator[Tensor]:
    """The outputs of every layer of an MLP: ``[m, points, d_k]`` for k = 1 .. M."""
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


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, without the fused operations of torch's transformers."""
    modes = {m: m.training for m in module.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for m, training in modes.items():
            m.training = training
