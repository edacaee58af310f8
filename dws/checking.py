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
            x = double_of(inputs)
            generator = torch.Generator().manual_seed(0)
            theta = noisy(space, space.vector(double), generator)
            space.load(double, theta)
            expected, single = outputs(double, x)
            _check_outputs(module, expected, outputs(double, x)[0])
            limit = ROUNDING_SINGLE if single else ROUNDING
            for axes in [*((a,) for a in space.hidden), space.hidden]:
                orders = random_permutation(space, generator)
                g = {a: orders[a] for a in axes}
                moved = {
                    n: move(space, g, n, t) if g.keys() & space.axes[n] else t
                    for n, t in space.split(theta[None]).items()
                }
                space.load(double, space.flatten(moved)[0])
                by = change(expected, outputs(double, x)[0])
                if not by <= limit:
                    raise ValueError(_message(space, axes, by, operations))
    finally:
        torch.random.set_rng_state(state)


def noisy(space: WeightSpace, theta: Tensor, generator: torch.Generator) -> Tensor:
    """Weights ``[size]`` with noise of a tenth or so; variances stay positive."""
    a, b = torch.randn(2, len(theta), generator=generator, dtype=theta.dtype)
    theta = theta * (1 + 0.2 * a) + 0.1 * b
    x = space.split(theta[None])
    return space.flatten(
        {n: t.abs() + 0.1 if space.kinds.get(n) == "variance" else t for n, t in x.items()}
    )[0]


def outputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[list[Tensor], bool]:
    """The tensors that a module returns, and whether it computes in less than double precision."""
    precision = _Precision()
    with precision:
        out = module(*inputs)
    return [t.clone() for t in tree_leaves(out) if isinstance(t, Tensor)], precision.single


def double_of(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Inputs in double precision; whole numbers as they are."""
    doubled: tuple[Any, ...] = tree_map(_double_one, inputs)
    return doubled


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


def _double_one(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _check_outputs(module: nn.Module, first: list[Tensor], second: list[Tensor]) -> None:
    name = type(module).__name__
    if not first:
        raise ValueError(f"{name} returns no tensor")
    if not all(torch.isfinite(t).all() for t in first):
        raise ValueError(f"{name}: its outputs for these inputs are not finite")
    if not change(first, second) <= ROUNDING:
        raise ValueError(
            f"{name}: its outputs differ from run to run, in evaluation mode and with equal inputs"
        )


def change(expected: list[Tensor], got: list[Tensor]) -> float:
    """The largest change of an output, relative to the largest output of its tensor."""
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
