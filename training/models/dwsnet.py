"""The description of a DWSNet."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from torch import nn

from dws import DWSNet, WeightSpace
from training.checks import check_positive, check_share
from training.models.base import Network
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN


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
        probe_activation: of the networks, where the zoo does not know it: relu, tanh or gelu; sine
            stands for the zoo's own.
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

    def build(
        self, space: WeightSpace, classes: int, forward_pass: ForwardPass = UNKNOWN
    ) -> nn.Module:
        """A freshly initialised DWSNet.

        Raises:
            ConfigError: axes or options that the space does not allow.
        """
        return self._built(space, forward_pass, {"out_features": classes})

    def build_equivariant(self, space: WeightSpace, forward_pass: ForwardPass = UNKNOWN) -> DWSNet:
        """A fresh DWSNet from weights to changed weights, which begins by changing nothing.

        Raises:
            ConfigError: axes or options that the space does not allow.
        """
        return self._built(space, forward_pass, {"out_channels": 1, "identity": True})

    def _built(
        self, space: WeightSpace, forward_pass: ForwardPass, output: dict[str, Any]
    ) -> DWSNet:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
        if self.probes:
            options |= self._probed(forward_pass)
        try:
            return DWSNet(space, **options, **output)
        except ValueError as error:
            raise ConfigError(f"network: {error}") from error

    def _probed(self, forward_pass: ForwardPass) -> dict[str, Any]:
        """How probes evaluate the networks."""
        own, asked = forward_pass.activation, self.probe_activation
        if own is None and asked == "sine":
            raise ConfigError(
                "probes: they evaluate the networks, whose activation is not known; set "
                "probe_activation, or import the zoo again with --activation (and --w0 for sine)"
            )
        if own is not None and asked not in ("sine", own):
            raise ConfigError(
                f"probe_activation: got {asked}, but the networks of the zoo have {own} units; "
                "leave it out"
            )
        return {
            "probe_activation": own or asked,
            "probe_w0": forward_pass.w0,
            "probe_scaled_bias": forward_pass.scaled_bias,
        }
