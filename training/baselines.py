"""What DWSNets are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dws import Standardize, WeightSpace


class FlatMLP(nn.Module):
    """A multi-layer perceptron on the flattened weights; knows nothing of their symmetry.

    Args:
        space: of the networks that come in.
        hidden: widths of the hidden layers.
        out_features: length of the output vector.
        dropout: share of hidden features set to zero in training.

    Source: the "MLP" baseline of Navon et al. 2023; with permuted inputs in training it is
    "MLP + permutation augmentation".
    """

    def __init__(
        self, space: WeightSpace, hidden: Sequence[int], out_features: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.space = space
        self.standardize = Standardize(space)
        layers: list[nn.Module] = []
        for a, b in zip([space.size, *hidden], hidden, strict=False):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear([space.size, *hidden][-1], out_features))

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, out_features]``."""
        x = self.space.flatten(self.standardize(self.space.split(theta)))
        out: Tensor = self.layers(x)
        return out
