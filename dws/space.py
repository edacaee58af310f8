"""Weight spaces: named tensors over named axes, some of which are permutable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import index
from typing import Any

import torch
from torch import Tensor, nn

from dws.describe import describe
from dws.layout import Box, box_view, order_of
from dws.roles import KINDS, ROLES, chain_kinds, default_roles

Features = dict[str, Tensor]
"""Name of a tensor of a space -> its features ``[m, *shape, c]`` for m networks and c channels."""


@dataclass(frozen=True)
class Origin:
    """Where a space that was derived from a module comes from; no part of its identity.

    Attributes:
        module: a copy of the module in evaluation mode, for `dws.forward`; its own weights do not
            matter. None where the space was read from a description.
        inputs: the examples that it was traced with.
        buffers: dotted names of the buffers that follow the parameters in the flat vector.
        reasons: fixed axis -> why it cannot be permuted.
    """

    module: nn.Module | None
    inputs: tuple[Any, ...] = ()
    buffers: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class WeightSpace:
    """The weights of one architecture: which tensors it has, over which axes.

    A tensor is a tuple of axes. An axis of hidden neurons is permutable: renaming its neurons
    everywhere leaves the network's function as it is. All other axes (inputs, outputs, taps of a
    convolution) are fixed. The symmetry group is the product of the symmetric groups of the hidden
    axes (Navon et al. 2023, eq. 4); an axis nested in another has one symmetric group per entry of
    that axis (a wreath product), as the entries of each attention head.

    An axis may appear twice in a tensor (a recurrent matrix W(h, h)): the same permutation acts on
    both. A nested axis belongs to the nearest occurrence of its parent before it in the tensor, or
    else to the nearest one after it.

    Args:
        axes: name of each tensor -> names of its axes, in the order of
            ``torch.nn.utils.parameters_to_vector``.
        sizes: name of each axis -> its size, at least 1.
        hidden: names of the permutable axes.
        parents: nested hidden axis -> the axis, hidden or fixed, that it is nested in. Every tensor
            that has the one has the other. Parents are not nested themselves.
        kinds: tensor -> what it is, one of `dws.roles.KINDS`. Known by itself for the chains of
            :meth:`mlp`; tensors left out are of unknown kind.
        roles: tensor -> one of `dws.roles.ROLES` per axis; by default what the kind implies.
        layout: tensor -> its entries in the flat vector, for all tensors or none; by default they
            follow each other, each in row-major order.
        origin: the module that the space was derived from.

    Raises:
        TypeError: a size that is no whole number.
        ValueError: no tensor or one without axes, a name that is no identifier, a size below 1, an
            axis without size or tensor, or parents, kinds, roles or a layout that do not fit.
    """

    axes: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    hidden: tuple[str, ...]
    parents: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layout: Mapping[str, Box] = field(default_factory=dict)
    origin: Origin | None = None

    def __post_init__(self) -> None:
        # own copies, of the declared types, whatever was given
        self.__dict__["axes"] = {t: tuple(axes) for t, axes in self.axes.items()}
        self.__dict__["sizes"] = {a: index(n) for a, n in self.sizes.items()}
        self.__dict__["hidden"] = tuple(self.hidden)
        self.__dict__["parents"] = dict(self.parents)
        self.__dict__["layout"] = dict(self.layout)
        names = [*self.axes, *self.sizes]
        if not self.axes or not all(name.isidentifier() for name in names):
            raise ValueError(
                f"expected tensors and axes with names of letters, digits and '_', got {names}"
            )
        if bare := sorted(name for name, axes in self.axes.items() if not axes):
            raise ValueError(f"the tensors {bare} have no axis; give each at least one of size 1")
        used = {axis for axes in self.axes.values() for axis in axes}
        if missing := sorted(used - set(self.sizes)):
            raise ValueError(f"no size is given for the axes {missing}")
        if small := {a: n for a, n in self.sizes.items() if n < 1}:
            raise ValueError(f"every axis needs a size of at least 1, got {small}")
        if unknown := sorted(set(self.hidden) - used):
            raise ValueError(f"the hidden axes {unknown} belong to no tensor")
        if len(set(self.hidden)) < len(self.hidden):
            raise ValueError(f"hidden axes {self.hidden}: name each once")
        self._check_parents()
        self._set_kinds()
        # made now, since a compiler can trace a look-up but not how it came about
        _ = self.size, self._widths, self._hidden_axes, self._fixed_axes, self._fixed_sizes
        if self.layout:
            self._check_layout()

    def _check_parents(self) -> None:
        for child, parent in self.parents.items():
            if child not in self.hidden or parent not in self.sizes or parent in self.parents:
                raise ValueError(
                    f"parents: {child!r} in {parent!r}: expected a hidden axis nested in another "
                    "axis that is not nested itself"
                )
            for name, axes in self.axes.items():
                if child in axes and parent not in axes:
                    raise ValueError(
                        f"parents: {child!r} is nested in {parent!r}, but tensor {name} has axes "
                        f"{axes}, without {parent!r}"
                    )

    def _set_kinds(self) -> None:
        kinds = dict(self.kinds or chain_kinds(self.axes))
        if unknown := sorted(set(kinds) - set(self.axes)):
            raise ValueError(f"kinds: {unknown} are not among the tensors {list(self.axes)}")
        if wrong := {t: k for t, k in kinds.items() if k not in KINDS}:
            raise ValueError(f"kinds: got {wrong}, expected {', '.join(KINDS)}")
        if unknown := sorted(set(self.roles) - set(kinds)):
            raise ValueError(f"roles: {unknown} are not among the tensors of known kind")
        roles = {
            t: tuple(self.roles.get(t) or default_roles(k, self.axes[t], self.hidden))
            for t, k in kinds.items()
        }
        for t, own in roles.items():
            if len(own) != len(self.axes[t]) or not set(own) <= set(ROLES):
                raise ValueError(
                    f"roles of {t}: got {own}, expected one of {', '.join(ROLES)} for each of its "
                    f"axes {self.axes[t]}"
                )
        self.__dict__["kinds"] = kinds
        self.__dict__["roles"] = roles

    def _check_layout(self) -> None:
        if self.layout.keys() != self.axes.keys():
            raise ValueError(
                f"layout: got boxes of {list(self.layout)}, expected {list(self.axes)}"
            )
        for name, box in self.layout.items():
            if len(box.strides) != len(self.axes[name]):
                raise ValueError(
                    f"layout of {name}: got strides {box.strides}, expected one for each of its "
                    f"axes {self.axes[name]}"
                )
        _ = self._order

    @classmethod
    def mlp(cls, widths: Sequence[int], bias: bool = True) -> WeightSpace:
        """The space of a multi-layer perceptron.

        Args:
            widths: neurons per layer, d_0 (inputs), d_1, ..., d_M (outputs); M >= 1.
            bias: whether its layers have biases.

        Returns:
            Tensors ``W1, b1, ..., WM, bM``; W_m has axes ``(n_m, n_{m-1})``, b_m has ``(n_m,)``;
            hidden axes ``n1 .. n_{M-1}``.

        Raises:
            ValueError: fewer than two widths, or one below 1.
            TypeError: a width that is no whole number.
        """
        widths = tuple(index(d) for d in widths)  # refuses 2.7 rather than cut it
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(
                f"widths {list(widths)}: an MLP needs at least an input and an output width, each "
                "1 or more, for example [2, 32, 32, 1]"
            )
        axes = _mlp_axes(len(widths) - 1, bias)
        sizes = {f"n{k}": d for k, d in enumerate(widths)}
        return cls(axes, sizes, tuple(f"n{k}" for k in range(1, len(widths) - 1)))

    @classmethod
    def from_module(cls, module: nn.Module, *inputs: Any) -> WeightSpace:
        """The space of any module that can be traced; of an ``nn.Sequential`` without tracing.

        With example inputs the module is traced in evaluation mode, and the axes that its
        operations bring together are joined (`dws.derive`). What touches inputs or outputs is
        fixed, and so is what an operation without a rule touches, with one warning that names it.
        The result is checked on the module: random permutations of every hidden axis, in float64,
        must keep its outputs. :meth:`describe` shows the axes, and why some are fixed.

        Args:
            module: any module; without inputs an ``nn.Sequential`` of linear layers, ``Conv1d`` to
                ``Conv3d``, then ``nn.Flatten`` or a global pool, and layers without parameters,
                which are taken to act on each neuron or channel alone.
            inputs: examples of what its ``forward`` takes, for example ``torch.zeros(1, 3, 32,
                32)``.

        Returns:
            The space whose vectors are ``parameters_to_vector(module.parameters())``, then the
            buffers that a permutation moves (running statistics). The tensors of a chain of layers
            are ``W1, b1, W2, ...``: a linear layer has axes ``(n_m, n_{m-1})``; a convolution has a
            third, fixed one, ``taps_m``: the entries of its kernel, row by row; the linear layer
            that follows a flattened image of several pixels has ``places_m``: the pixels, row by
            row. All others are named after their parameters. A parameter whose dimension is a
            product of axes has them one after the other; one whose dimension is a concatenation is
            several tensors.

        Raises:
            ValueError: a module without parameters, one that cannot be traced, or one whose outputs
                change (names axis, tensor and operation). Without inputs: a layer with other
                parameters, one that mixes neurons, a grouped convolution, widths that do not chain,
                or shared parameters.
        """
        from dws.derive import derive
        from dws.modules import read_axes

        if inputs:
            return derive(module, inputs)
        try:
            return cls(*read_axes(module))
        except ValueError as error:
            raise ValueError(
                f"{error} (any module can be read with an example of its input: "
                "WeightSpace.from_module(module, x))"
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in the order of the flat vector."""
        return tuple(self.axes)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of one network's tensor."""
        return {name: tuple(self.sizes[a] for a in axes) for name, axes in self.axes.items()}

    @cached_property
    def size(self) -> int:
        """Number of weights of one network (1185 for 2-32-32-1)."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def widths(self) -> tuple[int, ...]:
        """d_0 .. d_M, where the space is that of an MLP.

        Raises:
            ValueError: it is not.
        """
        if self._widths is None:
            raise ValueError(f"{self} is not the space of an MLP")
        return self._widths

    @property
    def is_mlp(self) -> bool:
        """Whether the space is that of an MLP."""
        return self._widths is not None

    @property
    def neurons(self) -> WeightSpace:
        """One tensor per hidden axis, of its name and nothing but it: features of each neuron.

        The tensor of a nested axis also has its parent: one feature per entry of both.

        Raises:
            ValueError: the space has no hidden axis.
        """
        if not self.hidden:
            raise ValueError(f"{self} has no hidden neurons")
        axes = {a: (self.parents[a], a) if a in self.parents else (a,) for a in self.hidden}
        sizes = {a: self.sizes[a] for own in axes.values() for a in own}
        return WeightSpace(axes, sizes, self.hidden, self.parents)

    def permutable(self, *axes: str) -> WeightSpace:
        """The same tensors with further axes permutable, for example inputs and outputs.

        Raises:
            ValueError: axes that the space does not have, or that are permutable already.
        """
        fixed = sorted(set(self.sizes) - set(self.hidden))
        if wrong := [a for a in axes if a not in fixed]:
            raise ValueError(f"axes {wrong} are not among the fixed axes {fixed}")
        hidden = (*self.hidden, *axes)
        if self.kinds == chain_kinds(self.axes):
            return replace(self, hidden=hidden, kinds={}, roles={})
        return replace(self, hidden=hidden)

    def resized(self, axis: str, size: int) -> WeightSpace:
        """The same tensors with a fixed axis of another size.

        Raises:
            ValueError: not a fixed axis, or a size below 1.
        """
        if axis not in (fixed := sorted(set(self.sizes) - set(self.hidden))):
            raise ValueError(f"axis {axis!r} is not among the fixed axes {fixed}")
        # another number of weights: no longer those of the module, nor in its order
        return replace(self, sizes={**self.sizes, axis: size}, layout={}, origin=None)

    def hidden_axes(self, name: str) -> tuple[str, ...]:
        """The permutable axes of one tensor, in its order."""
        return self._hidden_axes[name]

    def fixed_axes(self, name: str) -> tuple[str, ...]:
        """The other axes of one tensor, in its order."""
        return self._fixed_axes[name]

    def fixed_size(self, name: str) -> int:
        """Product of the sizes of the fixed axes: entries per position on the hidden axes."""
        return self._fixed_sizes[name]

    def split(self, theta: Tensor) -> Features:
        """Cut flat weights into tensors.

        Args:
            theta: ``[m, size]`` (one channel) or ``[m, size, c]``.

        Returns:
            Name -> ``[m, *shape, c]``, views of ``theta``; the inverse of :meth:`flatten`.

        Raises:
            ValueError: another shape.
        """
        if theta.ndim not in (2, 3) or theta.shape[1] != self.size:
            raise ValueError(
                f"expected weights [m, {self.size}] or [m, {self.size}, c] for {self}, "
                f"got {list(theta.shape)}"
            )
        theta = theta if theta.ndim == 3 else theta.unsqueeze(-1)
        if self.layout:
            return {t: box_view(theta, self.layout[t], s) for t, s in self.shapes.items()}
        parts = theta.split([prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: part.unflatten(1, shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def flatten(self, features: Mapping[str, Tensor]) -> Tensor:
        """Join tensors to flat weights.

        Args:
            features: name -> ``[m, *shape, c]``.

        Returns:
            ``[m, size, c]``, or ``[m, size]`` for one channel: one channel is plain weights, which
            is what :meth:`split` takes and what networks are loaded from.

        Raises:
            ValueError: names or shapes of another space.
        """
        self.check(features)
        flat = torch.cat(
            [features[name].flatten(1, -2) for name in self.names],
            dim=1,
        )
        if self.layout:
            flat = flat.index_select(1, self._order.to(flat.device))
        return flat.squeeze(-1)

    def vector(self, module: nn.Module) -> Tensor:
        """The weights of a module of this space: its parameters, then the buffers that matter.

        Returns:
            ``[size]``, detached, in the order of ``parameters_to_vector(module.parameters())``.

        Raises:
            ValueError: a module of another size.
        """
        return torch.cat([t.detach().flatten() for t in self._state(module)])

    @torch.no_grad()
    def load(self, module: nn.Module, theta: Tensor) -> None:
        """Write weights ``[size]`` into a module of this space: the inverse of :meth:`vector`.

        Raises:
            ValueError: a module or weights of another size.
        """
        state = self._state(module)
        if list(theta.shape) != [self.size]:
            raise ValueError(f"expected weights [{self.size}] for {self}, got {list(theta.shape)}")
        for tensor, part in zip(state, theta.split([t.numel() for t in state]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def _state(self, module: nn.Module) -> list[Tensor]:
        """The tensors of a module that the flat vector joins."""
        buffers = self.origin.buffers if self.origin else ()
        own = dict(module.named_buffers())
        if missing := [b for b in buffers if b not in own]:
            raise ValueError(f"{type(module).__name__} has no buffers {missing}, which {self} has")
        state = [*module.parameters(), *(own[b] for b in buffers)]
        if (size := sum(t.numel() for t in state)) != self.size:
            raise ValueError(
                f"{type(module).__name__} has {size} weights, {self} has {self.size}; give "
                "a module of the same architecture"
            )
        return state

    def to_dict(self) -> dict[str, Any]:
        """The space as plain data for JSON; a plain space has no entries beyond its axes."""
        data: dict[str, Any] = {
            "names": list(self.names),
            "axes": {name: list(axes) for name, axes in self.axes.items()},
            "sizes": dict(self.sizes),
            "hidden": list(self.hidden),
            "size": self.size,
        }
        if self.parents:
            data["parents"] = dict(self.parents)
        if self.kinds != chain_kinds(self.axes):
            data["kinds"] = dict(self.kinds)
            data["roles"] = {t: list(roles) for t, roles in self.roles.items()}
        if self.layout:
            data["layout"] = {t: [b.offset, list(b.strides)] for t, b in self.layout.items()}
        if self.origin:
            data["buffers"] = list(self.origin.buffers)
            data["reasons"] = dict(self.origin.reasons)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WeightSpace:
        """The inverse of :meth:`to_dict`, without the module that the space was derived from."""
        origin = None
        if "buffers" in data:
            origin = Origin(None, (), tuple(data["buffers"]), data.get("reasons", {}))
        return cls(
            # the order of tensors counts, and sorted JSON does not keep it in a table
            {name: tuple(data["axes"][name]) for name in data["names"]},
            data["sizes"],
            tuple(data["hidden"]),
            data.get("parents", {}),
            data.get("kinds", {}),
            {t: tuple(roles) for t, roles in data.get("roles", {}).items()},
            {t: Box(offset, tuple(s)) for t, (offset, s) in data.get("layout", {}).items()},
            origin,
        )

    def check(self, features: Mapping[str, Tensor], channels: int | None = None) -> None:
        """Raise ``ValueError``, naming the tensor, unless these are features of this space."""
        if features.keys() != self.axes.keys():
            raise ValueError(f"expected the tensors {list(self.names)}, got {list(features)}")
        m = features[self.names[0]].shape[0]
        for name, shape in self.shapes.items():
            got = tuple(features[name].shape)
            if got[1:-1] != shape or (channels is not None and got[-1] != channels):
                c = "c" if channels is None else channels
                expected = ", ".join(str(d) for d in ("m", *shape, c))
                raise ValueError(f"tensor {name}: expected [{expected}], got {list(got)}")
            if got[0] != m:
                raise ValueError(
                    f"tensor {name} is of {got[0]} networks, {self.names[0]} of {m}; expected one m"
                )

    def describe(self) -> str:
        """A table of the axes, the group, and why some axes are fixed; :mod:`dws.describe`."""
        return describe(self)

    def __str__(self) -> str:
        if self._widths is None:
            if self.origin and self.origin.module is not None:
                return f"the space of a {type(self.origin.module).__name__}"
            more = f", ... ({len(self.names)} tensors)" if len(self.names) > 12 else ""
            return f"the space of {', '.join(self.names[:12])}{more}"
        biases = "" if "b1" in self.axes else " without biases"
        return "the MLP " + "-".join(str(d) for d in self._widths) + biases

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeightSpace) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        """What distinguishes spaces: the order of tensors counts (it is that of the flat vector)."""
        parts = (self.parents, self.kinds, self.roles, self.layout)
        identity = tuple(self.axes.items()), frozenset(self.sizes.items()), self.hidden
        return (*identity, *(frozenset(part.items()) for part in parts))

    @cached_property
    def _order(self) -> Tensor:
        return order_of(self.layout, self.shapes)

    @cached_property
    def _widths(self) -> tuple[int, ...] | None:
        depth = len(self.sizes) - 1
        layers = tuple(f"n{k}" for k in range(depth + 1))
        if depth < 1 or {*self.sizes} != {*layers} or self.hidden != layers[1:-1]:
            return None
        ours = tuple(self.axes.items())
        if all(ours != tuple(_mlp_axes(depth, bias).items()) for bias in (True, False)):
            return None
        return tuple(self.sizes[a] for a in layers)

    @cached_property
    def _hidden_axes(self) -> dict[str, tuple[str, ...]]:
        return {t: tuple(a for a in axes if a in self.hidden) for t, axes in self.axes.items()}

    @cached_property
    def _fixed_axes(self) -> dict[str, tuple[str, ...]]:
        return {t: tuple(a for a in axes if a not in self.hidden) for t, axes in self.axes.items()}

    @cached_property
    def _fixed_sizes(self) -> dict[str, int]:
        return {t: prod(self.sizes[a] for a in axes) for t, axes in self._fixed_axes.items()}


def _mlp_axes(depth: int, bias: bool) -> dict[str, tuple[str, ...]]:
    axes: dict[str, tuple[str, ...]] = {}
    for m in range(1, depth + 1):
        axes[f"W{m}"] = (f"n{m}", f"n{m - 1}")
        if bias:
            axes[f"b{m}"] = (f"n{m}",)
    return axes
