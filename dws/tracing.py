"""A module as a graph of torch's own operations, by `torch.export`, or else by `torch.fx`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from dws.evaluate import evaluating


@dataclass(frozen=True)
class Trace:
    """A graph, and what its inputs are.

    Attributes:
        graph: of operations before they are decomposed: ``linear``, ``conv2d``, ``lstm``.
        parameters: name of a placeholder -> the parameter's dotted name; tied ones have one.
        buffers: the same for buffers that are part of a state dict.
        constants: placeholders of other buffers and of tensors that the module makes.
        inputs: placeholders of the module's inputs.
    """

    graph: fx.Graph
    parameters: dict[str, str]
    buffers: dict[str, str]
    constants: tuple[str, ...]
    inputs: tuple[str, ...]


def trace(module: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    """Trace a module in evaluation mode; its own mode is restored.

    Raises:
        ValueError: it can be traced in neither way; gives both reasons.
    """
    with evaluating(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _exported(module, inputs)
        except Exception as error:  # export raises errors of many kinds
            first = error
        try:
            return _executed(module, inputs)
        except Exception as second:
            raise ValueError(
                f"{type(module).__name__} cannot be traced: torch.export: {_line(first)}; "
                f"torch.fx: {_line(second)}"
            ) from second


def _exported(module: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    program = torch.export.export(module, inputs)
    own = {id(p): name for name, p in module.named_parameters()}
    alias = {n: own[id(p)] for n, p in module.named_parameters(remove_duplicate=False)}
    buffer_of = {id(b): name for name, b in module.named_buffers()}
    buffer_alias = {n: buffer_of[id(b)] for n, b in module.named_buffers(remove_duplicate=False)}
    kinds: dict[str, dict[str, str]] = {"PARAMETER": {}, "BUFFER": {}, "USER_INPUT": {}, "": {}}
    for spec in program.graph_signature.input_specs:
        kind, target = spec.kind.name, spec.target or ""
        if kind == "PARAMETER":
            target = alias[target]
        elif kind == "BUFFER" and spec.persistent:
            target = buffer_alias[target]
        elif kind != "USER_INPUT":
            kind = ""
        name = getattr(spec.arg, "name", "")
        kinds[kind][name] = target
    return Trace(
        program.graph,
        kinds["PARAMETER"],
        kinds["BUFFER"],
        tuple(kinds[""]),
        tuple(kinds["USER_INPUT"]),
    )


def _executed(module: nn.Module, inputs: tuple[Any, ...]) -> Trace:
    """The operations of one run on the example inputs, for modules that export cannot read."""
    parameters = dict(module.named_parameters())
    persistent = set(module.state_dict(keep_vars=True))
    buffers = {n: b for n, b in module.named_buffers() if n in persistent}
    tensors, spec = torch.utils._pytree.tree_flatten(inputs)

    def run(state: list[Tensor], flat: list[Any]) -> Any:
        named = dict(zip([*parameters, *buffers], state, strict=True))
        return functional_call(module, named, torch.utils._pytree.tree_unflatten(flat, spec))

    state = [*parameters.values(), *buffers.values()]
    traced = make_fx(run, pre_dispatch=True, _error_on_data_dependent_ops=False)(state, tensors)
    names = [n.name for n in traced.graph.nodes if n.op == "placeholder"]
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            node.meta["val"] = getattr(traced, node.target)
    count = len(parameters)
    return Trace(
        traced.graph,
        dict(zip(names[:count], parameters, strict=True)),
        dict(zip(names[count : len(state)], buffers, strict=True)),
        (),
        tuple(names[len(state) :]),
    )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
