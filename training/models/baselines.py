"""Descriptions of what DWSNets are compared with: the networks of `training.models.networks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from dws import WeightSpace
from training.models.base import Network, check_positive, check_share, check_widths
from training.models.networks import FlatMLP, Inr2Vec, Statistics, Transformer
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


@dataclass(frozen=True)
class MlpNetwork(Network):
    """`training.models.networks.FlatMLP`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of features set to zero in training.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised MLP."""
        return FlatMLP(space, self.hidden, classes, self.dropout)


@dataclass(frozen=True)
class Inr2VecNetwork(Network):
    """`training.models.networks.Inr2Vec`.

    Its batch norm takes the statistics of each worker's own slice of a batch, so that, unlike other
    networks, it learns something else with another number of workers.

    Attributes:
        hidden: widths of the encoder that all rows share; the last is the embedding's length.
        head: widths of the hidden layers after the maximum over rows.
        dropout: share of the head's hidden features set to zero in training.
    """

    kind: Literal["inr2vec"] = "inr2vec"
    hidden: tuple[int, ...] = (512, 512, 1024)
    head: tuple[int, ...] = (256,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ConfigError("hidden: got no width, expected at least one")
        check_widths("hidden", self.hidden)
        check_widths("head", self.head)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised encoder and head."""
        return Inr2Vec(space, classes, self.hidden, self.head, self.dropout)


@dataclass(frozen=True)
class TransformerNetwork(Network):
    """`training.models.networks.Transformer`.

    Attributes:
        channels: features of a token; a multiple of ``heads``.
        layers: attention blocks.
        heads: of attention.
        tokens: one per ``"neuron"`` or one per ``"layer"``.
        dropout: share of features set to zero in training.
        positions: whether a learned vector is added to each token.
    """

    kind: Literal["transformer"] = "transformer"
    channels: int = 64
    layers: int = 4
    heads: int = 4
    tokens: Literal["neuron", "layer"] = "neuron"
    dropout: float = 0.0
    positions: bool = True

    def __post_init__(self) -> None:
        check_positive("channels", self.channels)
        check_positive("layers", self.layers)
        check_positive("heads", self.heads)
        if self.channels % self.heads:
            raise ConfigError(
                f"heads: got {self.heads} with channels {self.channels}, expected heads that "
                "divide the channels"
            )
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised transformer."""
        return Transformer(
            space,
            classes,
            channels=self.channels,
            layers=self.layers,
            heads=self.heads,
            tokens=self.tokens,
            dropout=self.dropout,
            positions=self.positions,
        )


@dataclass(frozen=True)
class StatisticsNetwork(Network):
    """`training.models.networks.Statistics`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of hidden features set to zero in training.
    """

    kind: Literal["statistics"] = "statistics"
    invariant: ClassVar[bool] = True
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised perceptron on statistics."""
        return Statistics(space, classes, self.hidden, self.dropout)
