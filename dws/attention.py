"""Attention among the neurons of one axis."""

from __future__ import annotations

from math import sqrt

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class SetAttention(nn.Module):
    """Multi-head self-attention of n neurons, equivariant: ``[m, n, d_in] -> [m, n, d_out]``.

    Queries, keys and values are linear in the neurons' features; no position is encoded. The output
    starts at zero, so that what it is added to keeps its initialisation.

    Args:
        in_features: d_in.
        out_features: d_out.
        heads: of ``ceil(d_in / heads)`` features each.

    Raises:
        ValueError: no head.

    Source: the self-attention block of Lee et al. 2019 (Set Transformer), without its normalisation
    and feed-forward part.
    """

    def __init__(self, in_features: int, out_features: int, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads must be 1 or more, got {heads}")
        self.heads, inner = heads, -(-in_features // heads) * heads
        self.inputs = nn.Linear(in_features, 3 * inner, bias=False)
        self.output = nn.Linear(inner, out_features, bias=False)
        nn.init.normal_(self.inputs.weight, std=sqrt(1 / in_features))
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        split = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(split[0], split[1], split[2])
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out
