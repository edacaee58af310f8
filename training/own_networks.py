"""A person's own network in a file, as weights of a space. No code of the file is run."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, conv, dropout, flatten, linear, pooling
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace
from zoo_gen import SourceError
from zoo_gen.exchange.imports.checkpoints import SAFE, BadFile, read_state
from zoo_gen.exchange.imports.layers import is_weight, layout_of

# layers that a pickled nn.Sequential may consist of; all else stays refused
LAYERS = [nn.Sequential] + [
    value
    for module in (activation, conv, dropout, flatten, linear, pooling)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, nn.Module) and value is not nn.Module
]
SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def read_network(path: Path) -> tuple[WeightSpace, Tensor]:
    """A state dict, or a whole ``nn.Sequential`` of torch's own layers.

    Returns:
        Its space, and its weights as float32 ``[1, size]``.

    Raises:
        SourceError: it is neither, or no chain of layers; says why and what to do.
    """
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")
    try:
        module = _module(path)
        if module is not None:
            space = WeightSpace.from_module(module)
            return space, parameters_to_vector(module.parameters()).detach().float()[None]
        state = read_state(path)
        tensors = {n: x for n, x in state.items() if isinstance(x, Tensor) and is_weight(n)}
        shapes = [(name, tuple(x.shape)) for name, x in tensors.items()]
        layout = layout_of(shapes, by_name=path.suffix == ".safetensors")
        arrays = {name: x.detach().float().numpy()[None] for name, x in tensors.items()}
        return layout.space, torch.from_numpy(layout.theta(arrays))
    except (BadFile, ValueError) as error:
        raise SourceError(
            f"{path}: {error}; expected what torch.save(net.state_dict(), FILE) writes, or an "
            "nn.Sequential of torch's own layers"
        ) from error


def _module(path: Path) -> nn.Module | None:
    """The module of a file, None where it holds something else."""
    if path.suffix == ".safetensors":
        return None
    try:
        with torch.serialization.safe_globals([*SAFE, *LAYERS]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception:  # whatever a broken or hostile file raises: `read_state` tells of it
        return None
    return content if isinstance(content, nn.Module) else None
