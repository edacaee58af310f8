"""DWSNet: a stack of equivariant layers, with an invariant head or an equivariant output."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from dws.linear import EquivariantLinear, InvariantLinear, Pool
from dws.space import Features, WeightSpace
from dws.standardize import Standardize


class DWSNet(nn.Module):
    """A deep weight-space network.

    ``standardize -> (EquivariantLinear -> norm -> ReLU -> dropout) x layers -> head``. The head is
    invariant, ``InvariantLinear -> ReLU -> Linear``, where ``out_features`` is given, else one more
    ``EquivariantLinear`` to ``out_channels``.

    Args:
        space: of the networks that come in.
        in_channels: features per weight; 1 for plain weights.
        hidden_channels: c inside.
        layers: equivariant layers before the head, 1 or more.
        out_features: length of the output vector of each network, for an invariant output.
        out_channels: channels of the output features, for an equivariant output.
        pool: how the layers summarise axes: mean, sum or max.
        norm: whether each layer normalises the channels at each position (layer norm per tensor).
        residual: whether layers after the first add their input.
        dropout: share of features set to zero in training.

    Raises:
        ValueError: both or none of ``out_features`` and ``out_channels``, or sizes below 1.

    Source: Navon et al. 2023, section 4.3.
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int = 1,
        hidden_channels: int = 32,
        layers: int = 4,
        out_features: int | None = None,
        out_channels: int | None = None,
        pool: Pool = "mean",
        norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if (out_features is None) == (out_channels is None):
            raise ValueError(
                "give either out_features (one vector per network) or out_channels (features per "
                f"weight), got out_features={out_features} and out_channels={out_channels}"
            )
        for name, count in (("layers", layers), ("out_features", out_features)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be 1 or more, got {count}")
        self.space, self.in_channels = space, in_channels
        self.standardize = Standardize(space)
        widths = [in_channels] + [hidden_channels] * layers
        self.layers = nn.ModuleList(
            EquivariantBlock(space, a, b, pool, norm, residual and i > 0, dropout)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.head: nn.Module
        if out_features is not None:
            self.head = nn.Sequential(
                InvariantLinear(space, hidden_channels, 2 * hidden_channels, pool),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(2 * hidden_channels, out_features),
            )
        else:
            assert out_channels is not None
            self.head = EquivariantLinear(space, hidden_channels, out_channels, pool)

    def forward(self, weights: Tensor | Mapping[str, Tensor]) -> Tensor | Features:
        """Predict from weights.

        Args:
            weights: ``[m, size]``, ``[m, size, in_channels]``, or features, name ->
                ``[m, *shape, in_channels]``.

        Returns:
            ``[m, out_features]``, or features ``[m, *shape, out_channels]``.

        Raises:
            ValueError: weights of another space.
        """
        x = self.space.split(weights) if isinstance(weights, Tensor) else dict(weights)
        self.space.check(x, self.in_channels)
        x = self.standardize(x)
        for layer in self.layers:
            x = layer(x)
        out: Tensor | Features = self.head(x)
        return out


class EquivariantBlock(nn.Module):
    """``EquivariantLinear -> norm -> ReLU -> dropout``, added to the input if residual."""

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        out_channels: int,
        pool: Pool,
        norm: bool,
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.linear = EquivariantLinear(space, in_channels, out_channels, pool)
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(out_channels) for name in space.names} if norm else {}
        )
        self.residual = residual
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Features:
        out: Features = self.linear(features)
        for name, norm in self.norms.items():
            out[name] = norm(out[name])
        out = {name: self.dropout(torch.relu(x)) for name, x in out.items()}
        if self.residual:
            out = {name: features[name] + x for name, x in out.items()}
        return out
