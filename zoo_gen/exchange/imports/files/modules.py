"""State dicts of pickled modules and TorchScript, whose classes are never loaded."""

from __future__ import annotations

from typing import Any

from zoo_gen.exchange.imports.files.pickles import Record
from zoo_gen.exchange.imports.files.stored import MOST_TENSORS, BadFile
from zoo_gen.exchange.imports.files.torch_files import as_tensor

MOST_MODULES = 20_000
LIKE_LINEAR = {"Linear", "NonDynamicallyQuantizableLinear", "Conv1d", "Conv2d", "Conv3d"}


def is_module(value: Any) -> bool:
    """Whether a record would have become an ``nn.Module``, or is one of TorchScript."""
    if not isinstance(value, Record):
        return False
    state = attributes(value)
    return ("_modules" in state and "_parameters" in state) or _scripted(value)


def attributes(record: Record) -> dict[Any, Any]:
    """What an object's ``__dict__`` would have been."""
    state = record.state
    if isinstance(state, tuple) and state:
        state = state[0]  # beside it, what __slots__ hold
    return state if isinstance(state, dict) else {}


def state_dict(module: Record) -> dict[str, Any]:
    """Parameters and persistent buffers by name, in the order of ``module.state_dict()``.

    Raises:
        BadFile: a layer of torch whose weights only look like those of a linear one, or more
            modules than any network has.
    """
    found: dict[str, Any] = {}
    todo: list[tuple[str, Record]] = [("", module)]
    for _ in range(MOST_MODULES):
        if not todo:
            return found
        prefix, record = todo.pop()
        own, below = _scripted_parts(record) if _scripted(record) else _parts(record)
        if own:
            _check_layer(prefix, record)
        found |= {f"{prefix}{name}": value for name, value in own.items()}
        todo += [(f"{prefix}{name}.", child) for name, child in reversed(below.items())]
        if len(found) > MOST_TENSORS or len(prefix) > 1000:
            break
    raise BadFile("it holds more modules within one another than any network has")


def _parts(record: Record) -> tuple[dict[str, Any], dict[str, Record]]:
    state = attributes(record)
    passing = state.get("_non_persistent_buffers_set")
    passing = passing.args or passing.elements if isinstance(passing, Record) else passing or ()
    hidden = {name for name in _flat(passing) if isinstance(name, str)}
    own = {
        str(name): value
        for group in ("_parameters", "_buffers")
        for name, value in _items(state.get(group)).items()
        if value is not None and name not in hidden
    }
    below = _items(state.get("_modules"))
    return own, {str(n): child for n, child in below.items() if is_module(child)}


def _flat(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += value if isinstance(value, list | tuple) else [value]
    return found


def _scripted(value: Record) -> bool:
    return value.name.startswith("__torch__.") and bool(attributes(value))


def _scripted_parts(record: Record) -> tuple[dict[str, Any], dict[str, Record]]:
    state = attributes(record)
    own = {str(n): x for n, x in state.items() if as_tensor(x) is not None}
    return own, {str(n): x for n, x in state.items() if isinstance(x, Record) and _scripted(x)}


def _check_layer(prefix: str, record: Record) -> None:
    module, _, kind = record.name.rpartition(".")
    if _scripted(record):
        module = module.removeprefix("__torch__.")
    if not module.startswith("torch.nn.modules"):
        return  # of somebody's own: by the names of its tensors
    state = attributes(record)
    if kind not in LIKE_LINEAR and "weight" in (*_items(state.get("_parameters")), *state):
        raise BadFile(
            f"its layer {prefix.rstrip('.') or 'itself'} is a {kind}; only linear layers and "
            "convolutions can be read"
        )
    if state.get("groups", 1) != 1:
        raise BadFile(f"its layer {prefix.rstrip('.')} is a convolution in groups")


def _items(value: Any) -> dict[Any, Any]:
    if isinstance(value, Record):
        return value.items
    return value if isinstance(value, dict) else {}
