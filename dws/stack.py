"""What a stack is made of: a block around each equivariant layer, and a head that is invariant."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from dws.linear import EquivariantLinear, InvariantLinear
from dws.pooling import Packed, Pool
from dws.space import WeightSpace

POINTWISE = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class EquivariantBlock(nn.Module):
    """``linear -> norm -> activation -> dropout``, added to the input if residual.

    Args:
        linear: the layer.
        activation: relu, gelu, silu or tanh.
        norm: none, layer or batch, as in :class:`DWSNet`.
        residual: whether to add the input; needs as many channels out as in.
        dropout: share of features set to zero in training.

    Raises:
        ValueError: an unknown activation or norm, a residual around a change of space or channels.
    """

    def __init__(
        self,
        linear: EquivariantLinear,
        activation: str = "relu",
        norm: str = "none",
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for kind, known, option in (
            ("activation", POINTWISE, activation),
            ("norm", ("none", "layer", "batch"), norm),
        ):
            if option not in known:
                raise ValueError(
                    f"{kind} {option!r} is not known; choose one of {', '.join(known)}"
                )
        same = linear.space == linear.target and linear.in_channels == linear.out_channels
        if residual and not same:
            raise ValueError(f"a residual needs a layer whose output is like its input: {linear}")
        self.linear, self.activation = linear, POINTWISE[activation]()
        c = linear.out_channels
        make = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}.get(norm)
        self.norms = nn.ModuleDict({n: make(c) for n in linear.target.names} if make else {})
        self.residual, self.dropout = residual, nn.Dropout(dropout)

    def forward(self, packed: Packed) -> Packed:
        """Features of the layer's space -> of its target."""
        dropping = self.training and self.dropout.p > 0
        plain = not (self.norms or self.residual or dropping)
        if plain and isinstance(self.activation, nn.ReLU):
            return self.linear.on(packed, relu=True)
        tensors = {}
        for name, x in self.linear.on(packed).tensors.items():
            if name in self.norms:
                x = self._normalise(name, x.reshape(-1, self.linear.out_channels)).view(x.shape)
            x = self.dropout(self.activation(x))
            tensors[name] = packed.tensors[name] + x if self.residual else x
        return Packed(self.linear.target, tensors)

    def _normalise(self, name: str, rows: Tensor) -> Tensor:
        norm = self.norms[name]
        if isinstance(norm, nn.BatchNorm1d) and self.training and len(rows) < 2:
            # one row has no deviation of its own: a last batch of one network takes the running one
            return batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        out: Tensor = norm(rows)
        return out


class InvariantHead(nn.Module):
    """``InvariantLinear -> ReLU -> dropout -> Linear``: a vector per network.

    Args:
        space: of the features that come.
        in_channels: their c.
        out_features: length of the vector.
        pool: how the hidden axes are summarised.
        dropout: share of the hidden features set to zero in training.
    """

    def __init__(
        self, space: WeightSpace, in_channels: int, out_features: int, pool: Pool, dropout: float
    ) -> None:
        super().__init__()
        self.invariant = InvariantLinear(space, in_channels, 2 * in_channels, pool)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * in_channels, out_features)

    def forward(self, packed: Packed) -> Tensor:
        """Features -> ``[m, out_features]``."""
        out: Tensor = self.output(self.dropout(torch.relu(self.invariant.on(packed))))
        return out
