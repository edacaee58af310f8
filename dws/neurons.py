"""The neurons of a hidden axis, what comes in and goes out, and the symmetries that they have."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import pi
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dws.basis import slot_owners
from dws.checking import ROUNDING, ROUNDING_SINGLE, change, double_of, noisy, outputs
from dws.evaluate import evaluating
from dws.space import Features, WeightSpace

TRIALS = 3
"""Random weights that a symmetry is tried on."""

Symmetry = Literal["signs", "phases", "scales"]


@dataclass(frozen=True)
class Layer:
    """The neurons of one hidden axis.

    Attributes:
        space: of the weights.
        axis: its name.
        incoming: names of the tensors that come in: what writes the axis.
        outgoing: names of the tensors that go out: what reads it.
    """

    space: WeightSpace = field(repr=False)
    axis: str
    incoming: tuple[str, ...]
    outgoing: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n,)`` for n neurons, ``(p, n)`` for n neurons in each of the p entries of a parent."""
        parent = self.space.parents.get(self.axis)
        n = self.space.sizes[self.axis]
        return (n,) if parent is None else (self.space.sizes[parent], n)

    @property
    def count(self) -> int:
        """Number of neurons, of all entries of a parent together."""
        return torch.Size(self.shape).numel()

    def shaped(self, numbers: Tensor) -> Tensor:
        """``[m, count]`` -> ``[m, *shape]``."""
        return numbers.reshape(-1, *self.shape)

    @property
    def weights(self) -> list[str]:
        """Names of the incoming tensors that have further axes: at most one.

        Raises:
            ValueError: there are more, as where a connection skips layers.
        """
        weights = [t for t in self.incoming if len(self.space.axes[t]) > len(self.shape)]
        if len(weights) > 1:
            raise ValueError(
                f"axis {self.axis} is the output of {len(weights)} layers ({', '.join(weights)}), "
                "as where a connection skips layers; its neurons have no such symmetry one by one"
            )
        return weights

    @property
    def bias(self) -> str:
        """Name of the one bias of the one layer.

        Raises:
            ValueError: there are several layers, or not one bias.
        """
        biases = [name for name in self.incoming if name not in self.weights]
        if len(biases) != 1:
            raise ValueError(
                f"axis {self.axis} has {len(biases)} biases, expected one: it holds the phase of "
                "sine units"
            )
        return biases[0]

    def scaled(self, x: Features, incoming: Tensor | None, outgoing: Tensor) -> Features:
        """The features, with what comes in and goes out multiplied by ``[m, *shape]`` each."""
        x = dict(x)
        for tensors, role, factor in (
            (self.incoming, "writes", incoming),
            (self.outgoing, "reads", outgoing),
        ):
            if factor is not None:
                for name in tensors:
                    for slot in self._slots(name, role):
                        x[name] = x[name] * self._along(name, slot, factor)
        return x

    def shifted(self, x: Features, k: Tensor, half_period: float) -> Features:
        """The features of sine units with k half periods ``[m, *shape]`` more in their phases."""
        x = self.scaled(x, None, parity(k))
        slot = self._slots(self.bias, "writes")[0]
        x[self.bias] = x[self.bias] + self._along(self.bias, slot, k * half_period)
        return x

    def rows(self, x: Features, name: str | None = None) -> Tensor:
        """What comes in to each neuron, ``[m, *shape, k]``; of one tensor, or of all of them."""
        found = []
        for tensor in self.incoming if name is None else (name,):
            slot = self._slots(tensor, "writes")[0]
            first = [slot] if len(self.shape) == 1 else [self._owner(tensor, slot), slot]
            rest = [k for k in range(len(self.space.axes[tensor])) if k not in first]
            order = [0, *(1 + k for k in (*first, *rest)), x[tensor].ndim - 1]
            found.append(x[tensor].permute(order).flatten(1 + len(first)))
        return torch.cat(found, dim=-1)

    def _slots(self, name: str, role: str) -> list[int]:
        own = zip(self.space.axes[name], self.space.roles[name], strict=True)
        return [k for k, (a, r) in enumerate(own) if a == self.axis and r == role]

    def _owner(self, name: str, slot: int) -> int:
        owner = slot_owners(self.space, self.space.axes[name])[slot]
        assert owner is not None  # every tensor that has a nested axis has its parent
        return owner

    def _along(self, name: str, slot: int, factor: Tensor) -> Tensor:
        """``[m, *shape]`` shaped to broadcast along an axis of a tensor."""
        shape = [1] * (len(self.space.axes[name]) + 2)
        shape[0], shape[1 + slot] = factor.shape[0], factor.shape[-1]
        if factor.ndim == 3:
            owner = self._owner(name, slot)
            shape[1 + owner] = factor.shape[1]
            factor = factor.mT if owner > slot else factor
        return factor.reshape(shape)


def layers(space: WeightSpace) -> tuple[Layer, ...]:
    """The hidden axes that are neither input nor output, with the weights and biases around them.

    Raises:
        ValueError: a tensor of unknown kind, or of another one than weight and bias: how it enters
            the function depends on what the space does not say.
    """
    for name, axes in space.axes.items():
        kind = space.kinds.get(name, "unknown")
        if kind not in ("weight", "bias") and any(a in space.hidden for a in axes):
            raise ValueError(
                f"tensor {name} of {space} is of kind {kind}: whether other weights compute the "
                "same is not known from the axes; derive the space with "
                "WeightSpace.from_module(module, *inputs), or give kinds"
            )
    if space.origin is not None and space.origin.module is None:
        raise ValueError(
            f"{space} was read without its module, so that its symmetries cannot be tried; derive "
            "it with WeightSpace.from_module(module, *inputs)"
        )
    found = (_around(space, axis, space.names) for axis in space.hidden)
    return tuple(layer for layer in found if layer.incoming and layer.outgoing)


def holding(space: WeightSpace, symmetry: Symmetry, w0: float | None = None) -> tuple[Layer, ...]:
    """The layers whose neurons have a symmetry; of a space with its module each is tried on it.

    Args:
        space: of the weights.
        symmetry: signs, phases or scales.
        w0: frequency of sine units, for phases.

    Raises:
        ValueError: kinds that are not known to have it, or no axis of the module has it.
    """
    if space.origin is None or space.origin.module is None:
        return layers(space)
    known = space.__dict__.setdefault("_holding", {})
    if (symmetry, w0) not in known:
        known[symmetry, w0] = tuple(_tried(space, symmetry, w0))
    found: tuple[Layer, ...] = known[symmetry, w0]
    if space.hidden and not found:
        axis = space.hidden[0]
        met = ", ".join(f"{t} ({space.kinds.get(t, 'unknown')})" for t in _having(space, axis)[:4])
        raise ValueError(
            f"no hidden axis of {space} has {symmetry} that can change: along {axis}, for example, "
            f"changing what comes in and goes out of {met} changes the outputs"
        )
    return found


def parity(k: Tensor) -> Tensor:
    """``(-1)^k`` of whole numbers."""
    return 1 - 2 * torch.remainder(k, 2)


def _having(space: WeightSpace, axis: str) -> list[str]:
    return [t for t, axes in space.axes.items() if axis in axes]


def _around(space: WeightSpace, axis: str, tensors: tuple[str, ...] | list[str]) -> Layer:
    """What writes an axis, among these tensors, and what reads it."""
    roles = {
        t: {r for a, r in zip(space.axes[t], space.roles.get(t, ()), strict=False) if a == axis}
        for t in space.names
    }
    incoming = tuple(t for t in tensors if "writes" in roles[t])
    return Layer(space, axis, incoming, tuple(t for t in space.names if "reads" in roles[t]))


def _candidates(space: WeightSpace, axis: str) -> Iterator[Layer]:
    """What may come in to an axis: a norm's scale and shift, or all that writes into a norm."""
    having = _having(space, axis)
    if any(t not in space.kinds for t in having):
        return
    affine = [t for t in having if space.kinds[t] in ("scale", "shift")]
    if any(space.kinds[t] == "scale" for t in affine):
        yield _around(space, axis, affine)
    yield _around(
        space, axis, [t for t in having if space.kinds[t] not in ("scale", "variance", "slope")]
    )


@torch.no_grad()
def _tried(space: WeightSpace, symmetry: Symmetry, w0: float | None) -> Iterator[Layer]:
    origin = space.origin
    assert origin is not None
    assert origin.module is not None
    module = copy.deepcopy(origin.module).to(torch.float64)
    generator = torch.Generator().manual_seed(0)
    with evaluating(module):
        trials = [_Trial(space, module, double_of(origin.inputs), generator) for _ in range(TRIALS)]
        for axis in space.hidden:
            for layer in _candidates(space, axis):
                try:
                    if all(trial.keeps(layer, symmetry, w0) for trial in trials) and any(
                        trial.depends(layer) for trial in trials
                    ):
                        yield layer
                        break
                except ValueError:  # several layers, or not one bias
                    continue


class _Trial:
    """Random weights of a module, and what it computes with them."""

    def __init__(
        self,
        space: WeightSpace,
        module: nn.Module,
        inputs: tuple[Any, ...],
        generator: torch.Generator,
    ) -> None:
        self.space, self.module, self.inputs, self.generator = space, module, inputs, generator
        normal = torch.randn(space.size, generator=generator, dtype=torch.float64)
        self.x = space.split(noisy(space, normal / 2, generator)[None])
        self.expected, self.limit = self._outputs(self.x)

    def keeps(self, layer: Layer, symmetry: Symmetry, w0: float | None) -> bool:
        """Whether a random change by the symmetry leaves the outputs as they are."""
        normal = self._normal(layer)
        if symmetry == "phases":
            assert w0 is not None
            other = layer.shifted(self.x, (2 * normal).round(), pi / w0)
        else:
            factor = normal.sign() if symmetry == "signs" else (normal / 2).exp()
            other = layer.scaled(self.x, factor, 1 / factor)
        return change(self.expected, self._outputs(other)[0]) <= self.limit

    def depends(self, layer: Layer) -> bool:
        """Whether what comes in matters: of neurons that are always off nothing can be learned."""
        other = layer.scaled(self.x, (self._normal(layer) / 2).exp(), torch.ones(1, *layer.shape))
        return change(self.expected, self._outputs(other)[0]) > self.limit

    def _normal(self, layer: Layer) -> Tensor:
        return torch.randn(1, *layer.shape, generator=self.generator, dtype=torch.float64)

    def _outputs(self, x: Features) -> tuple[list[Tensor], float]:
        self.space.load(self.module, self.space.flatten(x)[0])
        found, single = outputs(self.module, self.inputs)
        return found, ROUNDING_SINGLE if single else ROUNDING
