"""The tensors of one network, out of whatever a file wraps around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from zoo_gen.exchange.imports.files.modules import is_module, state_dict
from zoo_gen.exchange.imports.files.pickles import Record
from zoo_gen.exchange.imports.files.stored import BadFile, Stored
from zoo_gen.exchange.imports.files.torch_files import as_tensor
from zoo_gen.exchange.imports.layers import Style, is_weight

# what training keeps beside a network: it has tensors, but computes nothing of it
TRAINING = re.compile(
    r"(optim|opt_state|sched|grad_?scaler|scaler$|amp$|callbacks$|loops$|rng|random_state|replay)",
    re.IGNORECASE,
)
WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
MOST_TEXT = 80
MOST_LEVELS = 8
COUNTERS = ("num_batches_tracked",)


@dataclass(frozen=True)
class State:
    """The tensors of one network and what lies beside them.

    Attributes:
        tensors: name -> tensor, in the order of the file.
        values: plain numbers and short texts beside the tensors.
        content: everything beside the tensors, for layouts that know what it means.
        style: how its weights are turned.
        ordered: whether the order of the tensors says anything.
        ignored: names of tensors that were left out on request.
    """

    tensors: dict[str, Stored]
    values: dict[str, int | float | str] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    style: Style = "torch"
    ordered: bool = True
    ignored: tuple[str, ...] = ()


def find_state(tree: Any, part: str | None = None, nested: str = ".") -> State:
    """The only state dict in what a file holds, or the one that is asked for.

    Args:
        tree: dictionaries, lists, records and tensors.
        part: key of a dictionary around the state dict, or first part of its tensors' names.
        nested: what joins the keys of dictionaries within one another to names.

    Raises:
        BadFile: there is none, or there are several; names their keys.
    """
    values: dict[str, int | float | str] = {}
    node, found_part = tree, False
    for _ in range(MOST_LEVELS):
        node = _as_dict(node)
        inner = _holders(node)
        direct = [k for k in node if isinstance(k, str) and as_tensor(node[k]) is not None]
        if part in inner:
            values |= _plain(node, True)
            node, found_part = inner[part], True
            continue
        if any(is_weight(k) or is_weight(k, "keras") for k in direct) or not inner:
            break
        if len(inner) > 1 or (direct and any((as_tensor(node[k]) or 0).size > 1 for k in direct)):  # type: ignore[union-attr]
            if nested != "." or all(_is_layer(child) for child in inner.values()) or direct:
                break
            raise BadFile(
                f"it holds several networks: {_listed(inner)}; choose one with --part, for example "
                f"--part {next(iter(inner))}"
            )
        values |= _plain(node, True)
        node = next(iter(inner.values()))
    tensors = _flattened(node, nested)
    if part is not None and not found_part:
        tensors = _named_part(tensors, part)
    beside = {k: x for k, x in node.items() if isinstance(k, str) and k not in tensors}
    small = {n: x.item() for n, x in tensors.items() if not x.is_float and not is_weight(n)}
    counts = {n: x for n, x in small.items() if isinstance(x, int)}
    tensors = {n: x for n, x in tensors.items() if n not in counts}
    values |= _plain(node, False)
    values |= {n: x for n, x in counts.items() if not n.endswith(COUNTERS)}
    style: Style = (
        "keras" if any(is_weight(n, "keras") and n.endswith("kernel") for n in tensors) else "torch"
    )
    return State(_unwrapped(tensors), values, beside, style)


def without(state: State, patterns: Sequence[str]) -> State:
    """The same without the tensors whose names match, on request.

    Raises:
        BadFile: a pattern that matches none.
    """
    ignored = []
    for pattern in patterns:
        hits = [name for name in state.tensors if fnmatchcase(name, pattern)]
        if not hits:
            raise BadFile(
                f"--ignore {pattern} matches none of its tensors: {_listed(state.tensors)}"
            )
        ignored += hits
    kept = {name: x for name, x in state.tensors.items() if name not in ignored}
    return State(
        kept, state.values, state.content, state.style, state.ordered, tuple(sorted(set(ignored)))
    )


def weights_of(state: State, allowed: Sequence[str] = ()) -> dict[str, Stored]:
    """The weights and biases of layers, which must be all that a network has.

    Args:
        state: of a file.
        allowed: names of tensors that are known to be no part of the network.

    Raises:
        BadFile: a tensor that belongs to no layer, or weights that are no floats.
    """
    found = {name: tensor for name, tensor in state.tensors.items() if name not in allowed}
    for name, tensor in found.items():
        if not is_weight(name, state.style):
            raise BadFile(
                f"it has the tensor {name}, which is no weight or bias of a layer; if the network "
                f"does not need it, leave it out with --ignore {name}"
            )
        if not tensor.is_float:
            raise BadFile(f"{name} is of the type {tensor.dtype}, expected dense floats")
    return found


def _as_dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    if is_module(value):
        return state_dict(value)
    if isinstance(value, Record) and value.items:
        return value.items  # a dictionary of somebody's own class
    if isinstance(value, list | tuple):
        if len(value) == 1:
            return _as_dict_of_one(value[0])
        parts = {str(i): x for i, x in enumerate(value[:64]) if _holds_tensors(x, 3)}
        if parts:
            return parts
    kind = value.name if isinstance(value, Record) else type(value).__name__
    raise BadFile(f"it holds a {kind[:80]}, expected a state dict")


def _as_dict_of_one(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict) or is_module(value):
        return _as_dict(value)
    kind = value.name if isinstance(value, Record) else type(value).__name__
    raise BadFile(f"it holds a list of a {kind[:80]}, expected a state dict")


def _holders(node: dict[Any, Any]) -> dict[str, Any]:
    """The values of a dictionary that hold tensors of networks."""
    return {
        str(key): value
        for key, value in node.items()
        if isinstance(key, str)
        and as_tensor(value) is None
        and not TRAINING.search(key)
        and _holds_tensors(value, 4)
    }


def _holds_tensors(value: Any, levels: int) -> bool:
    if isinstance(value, Record):
        if as_tensor(value) is not None or is_module(value):
            return True
        value = value.items
    if not levels or not isinstance(value, dict | list) or not value:
        return False
    if isinstance(value, dict) and {"state", "param_groups"} <= set(value):
        return False  # of an optimizer
    children = list(value.values())[:256] if isinstance(value, dict) else value[:4]
    if any(isinstance(child, Stored) for child in children):
        return True
    return any(
        as_tensor(child) is not None or _holds_tensors(child, levels - 1) for child in children
    )


def _is_layer(value: Any) -> bool:
    """Whether a dictionary is a weight with its bias rather than a state dict."""
    return isinstance(value, dict) and all(
        isinstance(k, str) and "." not in k and (is_weight(k) or is_weight(k, "keras"))
        for k in value
    )


def _flattened(node: dict[Any, Any], joint: str) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    todo: list[tuple[str, Any, int]] = [("", node, MOST_LEVELS)]
    while todo:
        prefix, value, levels = todo.pop(0)
        tensor = as_tensor(value)
        if tensor is not None:
            found[prefix] = tensor
        elif is_module(value) and levels:
            todo = [(f"{prefix}{joint}{n}", x, 0) for n, x in state_dict(value).items()] + todo
        elif isinstance(value, Record) and is_weight(prefix):
            raise BadFile(
                f"{prefix} holds more than tensors ({value.name[:80]}), and running its code is "
                "refused"
            )
        elif isinstance(value, dict) and levels:
            below = [
                (f"{prefix}{joint}{n}" if prefix else str(n), x, levels - 1)
                for n, x in value.items()
                if isinstance(n, str) and not (levels == MOST_LEVELS and TRAINING.match(n))
            ]
            todo = below + todo
    return found


def _named_part(tensors: dict[str, Stored], part: str) -> dict[str, Stored]:
    """The tensors below one part of their names: at their beginning, or in one other place."""
    inside = re.compile(rf"((?:^|.*?[./]){re.escape(part)})[./]")
    places = {name: match[1] for name in tensors if (match := inside.match(name))}
    if not places:
        firsts = dict.fromkeys(re.split(r"[./]", name)[0] for name in tensors)
        raise BadFile(f"it has no part {part!r}; its tensors are those of {_listed(firsts)}")
    several = dict.fromkeys(places.values())
    if len(several) > 1 and part not in several:
        raise BadFile(f"it has the part {part!r} in several places: {_listed(several)}; name one")
    chosen = part if part in several else next(iter(several))
    return {name: tensors[name] for name, place in places.items() if place == chosen}


def _unwrapped(tensors: dict[str, Stored]) -> dict[str, Stored]:
    """Names without what DataParallel and torch.compile put before all of them."""
    for wrapper in WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): x for name, x in tensors.items()}
    return tensors


def _plain(node: dict[Any, Any], wrapping: bool) -> dict[str, int | float | str]:
    """Numbers and short texts of a dictionary; one-element tensors too, around a state dict."""
    found: dict[str, int | float | str] = {}
    for key, value in node.items():
        if not isinstance(key, str):
            continue
        tensor = as_tensor(value) if wrapping or _numpy_scalar(value) else None
        if tensor is not None:
            value = tensor.item()
        if isinstance(value, bool | int | float):
            found[key] = int(value) if isinstance(value, bool) else value
        elif isinstance(value, str) and len(value) <= MOST_TEXT:
            found[key] = value
    return found


def _numpy_scalar(value: Any) -> bool:
    return isinstance(value, Record) and value.name.endswith(".multiarray.scalar")


def _listed(names: Any) -> str:
    """The first few of some names."""
    first = list(names)
    more = f" and {len(first) - 6} more" if len(first) > 6 else ""
    return ", ".join(str(name)[:80] for name in first[:6]) + more
