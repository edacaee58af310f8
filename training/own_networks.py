"""A person's own network in a file, as weights of a space. No code of the file is run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dws import WeightSpace
from zoo_gen import SourceError
from zoo_gen.exchange.imports.checkpoints import read_file
from zoo_gen.exchange.imports.files import ENDINGS, BadFile, Reading

SUFFIXES = ENDINGS


def read_network(path: Path, reading: Reading = Reading()) -> tuple[WeightSpace, Tensor]:  # noqa: B008
    """A state dict or whole module, in any of the formats of `dwszoo import folder`.

    Args:
        path: of the file.
        reading: which network of it to take, and which of its tensors to leave out.

    Returns:
        Its space, and its weights as float32 ``[1, size]``.

    Raises:
        SourceError: it holds no chain of layers, or tensors that belong to none; says why.
    """
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")
    try:
        network = read_file(path, reading)
        return network.layout.space, torch.from_numpy(network.theta()[None])
    except BadFile as error:
        raise SourceError(f"{path}: {error}") from error
