"""DWSNet: a stack of equivariant layers with an invariant, equivariant or per-neuron output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dws.encode import FourierFeatures, PositionalEncoding, ProbeFeatures, Projection
from dws.linear import EquivariantLinear, check_counts
from dws.pooling import Packed, Pool
from dws.space import Features, WeightSpace
from dws.stack import EquivariantBlock, InvariantHead
from dws.standardize import Standardize

Norm = Literal["none", "layer", "batch"]
CHECKPOINT: dict[str, Any] = {"use_reentrant": False}


class DWSNet(nn.Module):
    """A deep weight-space network.

    ``standardize -> projections -> probes -> encodings -> (EquivariantLinear -> norm -> activation
    -> dropout) x layers -> head``. Exactly one output is chosen: ``out_features`` (invariant, a
    vector per network), ``out_channels`` (equivariant, features of the weights) or ``per_neuron``
    (a vector for each hidden neuron).

    Args:
        space: of the networks that come in.
        in_channels: features per weight; 1 for plain weights.
        hidden_channels: c inside.
        layers: equivariant layers before the head, 1 or more.
        out_features: length of the output vector of each network.
        out_channels: channels of the output features.
        per_neuron: length of the output vector of each hidden neuron.
        identity: with ``out_channels``: add the output to the weights and start at zero, so that an
            untrained model changes nothing; the output is counted in the weights' own deviations.
        pool: how the layers summarise axes: mean, sum, max or attention.
        activation: relu, gelu, silu or tanh.
        norm: over the channels: ``"layer"`` at each position; ``"batch"`` over all positions of a
            tensor in all networks of a batch.
        residual: whether layers after the first add their input.
        dropout: share of features set to zero in training.
        heads: of attention among the neurons of each axis, 0 for none.
        fourier: frequencies of :class:`dws.FourierFeatures`, 0 for none.
        probes: points of :class:`dws.ProbeFeatures`, 0 for none; needs an MLP's plain weights.
        probe_activation: of the networks that come in, as in :func:`dws.forward`.
        probe_w0: frequency of its ``"sine"``.
        probe_scaled_bias: whether that multiplies its bias too, as in :func:`dws.forward`.
        permute: fixed axes that become permutable, each with ``position_channels`` of
            :class:`dws.PositionalEncoding`.
        position_channels: see ``permute``.
        project: fixed axis -> size of its :class:`dws.Projection`.
        recompute: networks per piece, 0 for no pieces. A larger batch goes through in pieces whose
            forward pass is done again in the backward pass: memory holds the features of one piece
            instead of the batch, for a third more work.

    Raises:
        ValueError: not exactly one output, an unknown option, or sizes below 1; ``identity`` with
            ``out_channels`` other than ``in_channels``; ``recompute`` with batch norm; probes of
            features that are not an MLP's plain weights, or beside a projection of its outputs;
            ``permute`` or ``project`` of axes that are not fixed.

    Source: Navon et al. 2023, section 5; options as in their own docstrings.
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int = 1,
        hidden_channels: int = 32,
        layers: int = 4,
        out_features: int | None = None,
        out_channels: int | None = None,
        per_neuron: int | None = None,
        identity: bool = False,
        pool: Pool = "mean",
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        norm: Norm = "none",
        residual: bool = False,
        dropout: float = 0.0,
        heads: int = 0,
        fourier: int = 0,
        probes: int = 0,
        probe_activation: str = "sine",
        probe_w0: float = 30.0,
        probe_scaled_bias: bool = True,
        permute: tuple[str, ...] = (),
        position_channels: int = 4,
        project: Mapping[str, int] | None = None,
        recompute: int = 0,
    ) -> None:
        super().__init__()
        outputs = {
            "out_features": out_features, "out_channels": out_channels, "per_neuron": per_neuron
        }  # fmt: skip
        _check_outputs(**outputs)
        check_counts(layers=layers, hidden_channels=hidden_channels)
        _check_switches(heads=heads, fourier=fourier, probes=probes, recompute=recompute)
        if identity and out_channels != in_channels:
            raise ValueError(f"identity needs out_channels={in_channels}, got {out_channels}")
        if recompute and norm == "batch":
            raise ValueError("recompute cuts the batch in pieces, whose batch norms would differ")
        self.space, self.in_channels, self.out_channels = space, in_channels, out_channels
        self.identity, self.recompute = identity, recompute

        # what comes before the layers: `seen` is the space of the first one, `inner` of the others
        self.standardize = Standardize(space)
        self.projections, inner = nn.ModuleList(), space
        for axis, size in (project or {}).items():
            self.projections.append(projection := Projection(inner, axis, size))
            inner = projection.target
        self.seen, self.probe = inner, None
        if probes:
            how = (probe_activation, probe_w0, probe_scaled_bias)
            self.probe = ProbeFeatures(space, probes, *how)
            self.seen = self._with_answers(inner, self.probe)
        self.encodings, channels = nn.ModuleList(), in_channels
        if fourier:
            self.encodings.append(waves := FourierFeatures(self.seen, channels, fourier))
            channels = waves.out_channels
        if permute:
            positions = PositionalEncoding(self.seen, channels, permute, position_channels)
            self.encodings.append(positions)
            self.seen, inner = positions.target, inner.permutable(*permute)
            channels = positions.out_channels

        c, blocks = hidden_channels, []
        for i in range(layers):
            source, width = (inner, c) if i else (self.seen, channels)
            linear = EquivariantLinear(source, width, c, pool, heads=heads, target=inner)
            blocks.append(EquivariantBlock(linear, activation, norm, residual and i > 0, dropout))
        self.layers = nn.ModuleList(blocks)

        self.head: InvariantHead | EquivariantLinear
        if out_features is not None:
            self.head = InvariantHead(inner, c, out_features, pool, dropout)
        elif per_neuron is not None:
            self.head = EquivariantLinear(inner, c, per_neuron, pool, target=space.neurons)
        elif out_channels is not None:
            self.head = EquivariantLinear(inner, c, out_channels, pool)
        if identity:
            for p in self.head.parameters():
                nn.init.zeros_(p)

    def _with_answers(self, inner: WeightSpace, probe: ProbeFeatures) -> WeightSpace:
        """The projected space with the tensors of the probes' answers."""
        if self.in_channels != 1:
            raise ValueError(f"probes evaluate plain weights; got in_channels={self.in_channels}")
        last = self.space.axes[self.space.names[-1]][0]
        if inner.sizes[last] != self.space.sizes[last]:
            raise ValueError(f"probes answer on all of axis {last}; do not project it as well")
        answers = {name: probe.target.axes[name] for name in probe.answers}
        sizes = {**inner.sizes, "probe": probe.target.sizes["probe"]}
        return WeightSpace({**inner.axes, **answers}, sizes, inner.hidden)

    def forward(self, weights: Tensor | Mapping[str, Tensor]) -> Tensor | Features:
        """Predict from weights.

        Args:
            weights: ``[m, size]``, ``[m, size, in_channels]``, or features, name ->
                ``[m, *shape, in_channels]``.

        Returns:
            ``[m, out_features]``; or features, name -> ``[m, *shape, out_channels]``; or hidden
            axis -> ``[m, n, per_neuron]``.

        Raises:
            ValueError: weights of another space.
        """
        given = self.space.split(weights) if isinstance(weights, Tensor) else dict(weights)
        self.space.check(given, self.in_channels)
        m, piece = next(iter(given.values())).shape[0], self.recompute
        if not piece or m <= piece or not torch.is_grad_enabled():
            return self._predict(given)
        outs = [
            checkpoint(self._predict, {n: x[i : i + piece] for n, x in given.items()}, **CHECKPOINT)
            for i in range(0, m, piece)
        ]
        if isinstance(outs[0], Tensor):
            return torch.cat(outs)
        return {name: torch.cat([out[name] for out in outs]) for name in outs[0]}

    def _predict(self, given: Features) -> Tensor | Features:
        x = self.standardize(given)
        for projection in self.projections:
            x = projection(x)
        if self.probe is not None:
            x = {**x, **self.probe(self.space.flatten(given))}
        for encoding in self.encodings:
            x = encoding(x)
        packed = Packed.of(self.seen, x)
        for block in self.layers:
            packed = block(packed)
        if isinstance(self.head, InvariantHead):
            vectors: Tensor = self.head(packed)
            return vectors
        out = self.head.on(packed).features(self.head.out_channels)
        if self.out_channels is None:
            return out
        for projection in reversed(self.projections):
            out = cast(Projection, projection).expand(out)
        return self.standardize.add(given, out) if self.identity else out


def _check_outputs(**outputs: int | None) -> None:
    """Raise ``ValueError`` unless just one output is asked for, with a vector of 1 or more."""
    chosen = {name: n for name, n in outputs.items() if n is not None}
    if len(chosen) != 1:
        given = ", ".join(f"{name}={n}" for name, n in outputs.items())
        raise ValueError(
            "give one of out_features (a vector per network), out_channels (features per weight) "
            f"and per_neuron (a vector per hidden neuron); got {given}"
        )
    check_counts(**chosen)


def _check_switches(**switches: int) -> None:
    if negative := {name: n for name, n in switches.items() if n < 0}:
        raise ValueError(f"expected 0 (for none) or more, got {negative}")
