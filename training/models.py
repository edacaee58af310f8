"""Models that a config can name: each a typed description that builds its network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from torch import nn

from dws import DWSNet, WeightSpace
from training.baselines import FlatMLP, Inr2Vec, Statistics, Transformer
from zoo_gen import ConfigError


class Network(Protocol):
    """A description of a network from weights ``[m, size]`` to logits ``[m, classes]``.

    ``w0`` is the frequency of the zoo's sine units, for models that evaluate its members.
    The network has a ``standardize`` layer, whose statistics the loop takes from training data.
    """

    @property
    def kind(self) -> str:
        """The word that a config says."""
        ...

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """A freshly initialised network."""
        ...


@dataclass(frozen=True)
class DwsNetwork:
    """`dws.DWSNet` with an invariant head; its docstring tells more of each option.

    Attributes:
        hidden_channels: features per weight inside.
        layers: equivariant layers.
        pool: mean, sum, max or attention.
        activation: relu, gelu, silu or tanh.
        norm: over the channels: none, layer or batch.
        residual: whether layers add their input.
        dropout: share of features set to zero in training.
        heads: of attention among the neurons of each axis.
        fourier: number of Fourier features of each weight.
        probes: points at which the networks are evaluated; the answers are features.
        probe_activation: of the networks of the zoo: sine (with the zoo's w0), relu, tanh or gelu.
        permute: fixed axes to treat as permutable, with learned position channels.
        project: fixed axis -> size to which it is projected.
        recompute: networks per piece of a batch whose features are kept for the gradient.
    """

    kind: Literal["dwsnet"] = "dwsnet"
    hidden_channels: int = 32
    layers: int = 4
    pool: Literal["mean", "sum", "max", "attention"] = "mean"
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    norm: Literal["none", "layer", "batch"] = "none"
    residual: bool = False
    dropout: float = 0.0
    heads: int = 0
    fourier: int = 0
    probes: int = 0
    probe_activation: Literal["sine", "relu", "tanh", "gelu"] = "sine"
    permute: tuple[str, ...] = ()
    project: dict[str, int] = field(default_factory=dict)
    recompute: int = 0

    def __post_init__(self) -> None:
        check_positive("hidden_channels", self.hidden_channels)
        check_positive("layers", self.layers)
        check_share("dropout", self.dropout)
        for name in ("heads", "fourier", "probes", "recompute"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"{name}: got {value}, expected 0 or more")
        if self.recompute and self.norm == "batch":
            raise ConfigError("recompute: cuts batches in pieces; norm: batch needs them whole")

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """A freshly initialised DWSNet.

        Raises:
            ConfigError: axes or options that the space does not allow.
        """
        return self._built(space, w0, {"out_features": classes})

    def build_equivariant(self, space: WeightSpace, w0: float | None = None) -> DWSNet:
        """A fresh DWSNet from weights to changed weights, which begins by changing nothing.

        Raises:
            ConfigError: axes or options that the space does not allow.
        """
        return self._built(space, w0, {"out_channels": 1, "identity": True})

    def _built(self, space: WeightSpace, w0: float | None, output: dict[str, Any]) -> DWSNet:
        if self.probes and self.probe_activation == "sine" and w0 is None:
            raise ConfigError("probe_activation: sine, but the zoo tells no w0 of its networks")
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
        try:
            return DWSNet(space, probe_w0=w0 or 1.0, **options, **output)
        except ValueError as error:
            raise ConfigError(f"network: {error}") from error


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
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """A freshly initialised MLP."""
        return FlatMLP(space, self.hidden, classes, self.dropout)


@dataclass(frozen=True)
class Inr2VecNetwork:
    """`training.baselines.Inr2Vec`.

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

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """A freshly initialised encoder and head."""
        return Inr2Vec(space, classes, self.hidden, self.head, self.dropout)


@dataclass(frozen=True)
class TransformerNetwork:
    """`training.baselines.Transformer`.

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

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
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
class StatisticsNetwork:
    """`training.baselines.Statistics`.

    Attributes:
        hidden: widths of the hidden layers.
        dropout: share of hidden features set to zero in training.
    """

    kind: Literal["statistics"] = "statistics"
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_widths("hidden", self.hidden)
        check_share("dropout", self.dropout)

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """A freshly initialised perceptron on statistics."""
        return Statistics(space, classes, self.hidden, self.dropout)


@dataclass(frozen=True)
class UnchangedNetwork:
    """Weights as they came, beside models that change them: tasks ``edit`` and ``adapt`` alone."""

    kind: Literal["unchanged"] = "unchanged"

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """Never: it gives weights (`training.editors`)."""
        raise ConfigError(
            "network.kind: got unchanged, which gives weights back as they came; this task needs a "
            "vector for each network"
        )


@dataclass(frozen=True)
class FineTuneNetwork:
    """Each classifier trained further, on its own: task ``adapt`` alone (`training.tasks.adapt`).

    Attributes:
        steps: of Adam, on the images that the other models learn from.
        learning_rate: of Adam.
        batch_size: images per step.
    """

    kind: Literal["fine-tune"] = "fine-tune"
    steps: int = 100
    learning_rate: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_positive("steps", self.steps)
        check_positive("learning_rate", self.learning_rate)
        check_positive("batch_size", self.batch_size)

    def build(self, space: WeightSpace, classes: int, w0: float | None = None) -> nn.Module:
        """Never: it trains what it is given."""
        raise ConfigError(
            "network.kind: got fine-tune, which trains classifiers on the images of task adapt; "
            "this task has none"
        )


AnyNetwork = (
    DwsNetwork
    | MlpNetwork
    | Inr2VecNetwork
    | TransformerNetwork
    | StatisticsNetwork
    | UnchangedNetwork
    | FineTuneNetwork
)


def check_positive(key: str, value: float) -> None:
    """Raise `ConfigError` unless the value is above zero."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}: got {value}, expected more than 0")


def check_widths(key: str, widths: Iterable[int]) -> None:
    """Raise `ConfigError` unless all are above zero."""
    for width in widths:
        check_positive(key, width)


def check_share(key: str, value: float) -> None:
    """Raise `ConfigError` unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{key}: got {value}, expected at least 0 and less than 1")
