"""The check of a derived space: permuted weights must compute the same, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dws.evaluate import evaluating

if TYPE_CHECKING:
    from dws.space import WeightSpace

ROUNDING = 1e-9
"""Largest change of an output, relative to the largest output, that counts as rounding."""
ROUNDING_SINGLE = 1e-4
"""The same for a module that computes in single precision inside, whatever its inputs are."""


@torch.no_grad()
def check(
    space: WeightSpace,
    module: nn.Module,
    inputs: tuple[Any, ...],
    operations: Callable[[str], Sequence[str]],
) -> None:
    """Permute each hidden axis alone and all together: the outputs must stay.

    The weights are the module's own with noise, since fresh norms have equal entries.

    Args:
        space: derived from the module.
        module: is not changed.
        inputs: of the module.
        operations: axis -> the operations that meet it, for the message.

    Raises:
        ValueError: an output changes, or is random or not finite to begin with.
    """
    from dws.group import move, random_permutation

    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        double = copy.deepcopy(module).to(torch.float64)
        with evaluating(double):
            x = tree_map(_double, inputs)
            theta = noisy(space, space.vector(double))
            space.load(double, theta)
            precision = _Precision()
            with precision:
                expected = _floats(double(*x))
            _check_outputs(module, expected, _floats(double(*x)))
            limit = ROUNDING_SINGLE if precision.single else ROUNDING
            generator = torch.Generator().manual_seed(0)
            for axes in [*((a,) for a in space.hidden), space.hidden]:
                orders = random_permutation(space, generator)
                g = {a: orders[a] for a in axes}
                moved = {
                    n: move(space, g, n, t) if g.keys() & space.axes[n] else t
                    for n, t in space.split(theta[None]).items()
                }
                space.load(double, space.flatten(moved)[0])
                change = _change(expected, _floats(double(*x)))
                if not change <= limit:
                    raise ValueError(_message(space, axes, change, operations))
    finally:
        torch.random.set_rng_state(state)


def noisy(space: WeightSpace, theta: Tensor) -> Tensor:
    """Weights ``[size]`` with noise of a tenth or so; variances stay positive."""
    theta = theta * (1 + 0.2 * torch.randn_like(theta)) + 0.1 * torch.randn_like(theta)
    x = space.split(theta[None])
    return space.flatten(
        {n: t.abs() + 0.1 if space.kinds.get(n) == "variance" else t for n, t in x.items()}
    )[0]


class _Precision(TorchDispatchMode):
    """Notes whether any operation gives less than double precision."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.single = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        narrow = (torch.float32, torch.float16, torch.bfloat16, torch.complex64)
        self.single |= any(isinstance(t, Tensor) and t.dtype in narrow for t in tree_leaves(out))
        return out


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _floats(out: Any) -> list[Tensor]:
    return [t.detach().clone() for t in tree_leaves(out) if isinstance(t, Tensor)]


def _check_outputs(module: nn.Module, first: list[Tensor], second: list[Tensor]) -> None:
    name = type(module).__name__
    if not first:
        raise ValueError(f"{name} returns no tensor")
    if not all(torch.isfinite(t).all() for t in first):
        raise ValueError(f"{name}: its outputs for these inputs are not finite")
    if not _change(first, second) <= ROUNDING:
        raise ValueError(
            f"{name}: its outputs differ from run to run, in evaluation mode and with equal inputs"
        )


def _change(expected: list[Tensor], got: list[Tensor]) -> float:
    worst = 0.0
    for a, b in zip(expected, got, strict=True):
        if a.numel():
            scale = max(a.abs().max().item(), 1e-12)
            worst = max(worst, (a - b).abs().max().item() / scale) if b.isfinite().all() else 1e9
    return worst


def _message(
    space: WeightSpace,
    axes: Sequence[str],
    change: float,
    operations: Callable[[str], Sequence[str]],
) -> str:
    if len(axes) > 1:
        return (
            f"permuting the hidden axes {', '.join(axes)} together changes the outputs by "
            f"{change:.1e}, although each alone does not: please report this module"
        )
    tensors = [n for n, own in space.axes.items() if axes[0] in own]
    met = ", ".join(operations(axes[0])[:6])
    return (
        f"axis {axes[0]} of {', '.join(tensors[:4])}: permuting it changes the outputs by "
        f"{change:.1e}; the rule of one of the operations that meet it is wrong ({met}): "
        "please report this module"
    )
