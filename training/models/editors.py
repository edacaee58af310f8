"""Models from weights to changed weights ``[m, size]``, made of any network of a config."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from dws import DWSNet, Standardize, WeightSpace
from training.models.base import Network
from training.models.dwsnet import DwsNetwork
from training.models.references import UnchangedNetwork
from zoo_gen import ConfigError, ForwardPass


def build_editor(network: Network, space: WeightSpace, forward_pass: ForwardPass) -> nn.Module:
    """A fresh model that changes nothing yet.

    A DWSNet gives an equivariant change. The other networks give a vector as long as the weights,
    whose entries know their places: what a permuted network gets is another change.

    Args:
        network: what is built.
        space: of the weights.
        forward_pass: what the weights compute, for networks that evaluate.

    Returns:
        ``[m, size]`` -> ``[m, size]``, with a ``standardize`` layer.

    Raises:
        ConfigError: a network whose answer cannot say which neuron is meant.
    """
    if isinstance(network, UnchangedNetwork):
        return Unchanged(space)
    if isinstance(network, DwsNetwork):
        return EquivariantEditor(network.build_equivariant(space, forward_pass))
    if network.invariant:
        raise ConfigError(
            f"network.kind: got {network.kind}, but its answer is the same for any order of the "
            "neurons and cannot say how each is to change; use dwsnet, mlp, inr2vec or transformer"
        )
    return VectorEditor(network.build(space, space.size, forward_pass))


class EquivariantEditor(nn.Module):
    """Weights plus an equivariant change (Navon et al. 2023, section 7.3).

    Args:
        net: with ``identity``, which begins by changing nothing.
    """

    def __init__(self, net: DWSNet) -> None:
        super().__init__()
        self.net = net

    @property
    def standardize(self) -> Standardize:
        """The network's own."""
        return self.net.standardize

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, size]``."""
        return self.net.space.flatten(cast("dict[str, Tensor]", self.net(theta)))


class VectorEditor(nn.Module):
    """Weights plus a vector, counted in standard deviations of the weights.

    Its last linear layer begins at zero.

    Args:
        net: from ``[m, size]`` to ``[m, size]``, with ``space`` and ``standardize``.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @property
    def standardize(self) -> Standardize:
        """The network's own."""
        return cast(Standardize, self.net.standardize)

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, size]``."""
        space = cast(WeightSpace, self.net.space)
        change = space.split(cast(Tensor, self.net(theta)))
        return space.flatten(self.standardize.add(space.split(theta), change))


class Unchanged(nn.Module):
    """Weights as they came: what is to be beaten.

    It has one weight, of no effect, so that it can be trained like all others.

    Args:
        space: of the weights.
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        self.standardize = Standardize(space)
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, theta: Tensor) -> Any:
        """``[m, size]`` -> ``[m, size]``."""
        return theta + 0 * self.nothing
