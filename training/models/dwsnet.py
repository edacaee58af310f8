"""The description of a DWSNet."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from torch import nn

from dws import DWSNet, WeightSpace
from training.checks import check_positive, check_share
from training.models.base import Network
from zoo_gen import ConfigError


@dataclass(frozen=True)
class DwsNetwork(Network):
    """`dws.DWSNet` with an invariant head; its docstring describes each option in full.

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
            raise ConfigError("probe_activation: sine, but the w0 of the networks is not known")
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
        try:
            return DWSNet(space, probe_w0=w0 or 1.0, **options, **output)
        except ValueError as error:
            raise ConfigError(f"network: {error}") from error
