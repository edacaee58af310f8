"""Models that a config can name: each a typed description that builds its network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn

from dws import DWSNet, WeightSpace
from training.baselines import FlatMLP
from zoo_gen import ConfigError


class Network(Protocol):
    """A description of a network from weights ``[m, size]`` to logits ``[m, classes]``.

    The network has a ``standardize`` layer, whose statistics the loop takes from training data.
    """

    @property
    def kind(self) -> str:
        """The word that a config says."""
        ...

    def build(self, space: WeightSpace, classes: int) -> nn.Module:
        """A freshly initialised network."""
        ...


@dataclass(frozen=True)
class DwsNetwork:
    """`dws.DWSNet` with an invariant head.

    Attributes:
        hidden_channels: features per weight inside.
        layers: equivariant layers.
        pool: mean, sum or max.
        norm: layer norm over channels.
        residual: whether layers add their input.
        dropout: share of features set to zero in training.
    """

    kind: Literal["dwsnet"] = "dwsnet"
    hidden_channels: int = 32
    layers: int = 4
    pool: Literal["mean", "sum", "max"] = "mean"
    norm: bool = False
    residual: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_positive("hidden_channels", self.hidden_channels)
        check_positive("layers", self.layers)
        check_share("dropout", self.dropout)

    def build(self, space: WeightSpace, classes: int) -> nn.Module:
        """A freshly initialised DWSNet."""
        return DWSNet(
            space,
            hidden_channels=self.hidden_channels,
            layers=self.layers,
            out_features=classes,
            pool=self.pool,
            norm=self.norm,
            residual=self.residual,
            dropout=self.dropout,
        )


@dataclass(frozen=True)
class MlpNetwork:
    """`training.baselines.FlatMLP`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of features set to zero in training.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for width in self.hidden:
            check_positive("hidden", width)
        check_share("dropout", self.dropout)

    def build(self, space: WeightSpace, classes: int) -> nn.Module:
        """A freshly initialised MLP."""
        return FlatMLP(space, self.hidden, classes, self.dropout)


AnyNetwork = DwsNetwork | MlpNetwork


def check_positive(key: str, value: float) -> None:
    """Raise `ConfigError` unless the value is above zero."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}: got {value}, expected more than 0")


def check_share(key: str, value: float) -> None:
    """Raise `ConfigError` unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{key}: got {value}, expected at least 0 and less than 1")
