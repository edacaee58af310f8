"""DWSNet: a stack of equivariant layers with an invariant, equivariant or per-neuron output."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dws.encode import FourierFeatures, PositionalEncoding, ProbeFeatures, Projection
from dws.linear import EquivariantLinear, InvariantLinear, check_counts
from dws.pooling import AxisPool, Pool, Pooled
from dws.space import Features, WeightSpace
from dws.standardize import Standardize

Norm = Literal["none", "layer", "batch"]
CHECKPOINT: dict[str, Any] = {"use_reentrant": False}
POINTWISE = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class DWSNet(nn.Module):
    """A deep weight-space network.

    ``standardize -> encodings -> (EquivariantLinear -> norm -> activation -> dropout) x layers ->
    head``. Exactly one output is chosen: ``out_features`` (invariant, a vector per network),
    ``out_channels`` (equivariant, features of the weights) or ``per_neuron`` (a vector for each
    hidden neuron).

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
        permute: fixed axes that become permutable, each with ``position_channels`` of
            :class:`dws.PositionalEncoding`.
        position_channels: see ``permute``.
        project: fixed axis -> size of its :class:`dws.Projection`.
        recompute: networks per piece, 0 for no pieces. A larger batch goes through in pieces whose
            forward pass is done again in the backward pass: memory holds the features of one piece
            instead of the batch, for a third more work.

    Raises:
        ValueError: not exactly one output, an unknown option, or sizes below 1.

    Source: Navon et al. 2023, section 4.3; options as told in their own docstrings.
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
        permute: tuple[str, ...] = (),
        position_channels: int = 4,
        project: Mapping[str, int] | None = None,
        recompute: int = 0,
    ) -> None:
        super().__init__()
        outputs = (out_features, out_channels, per_neuron)
        if sum(o is not None for o in outputs) != 1:
            raise ValueError(
                "give one of out_features (a vector per network), out_channels (features per "
                "weight) and per_neuron (a vector per hidden neuron); got out_features="
                f"{out_features}, out_channels={out_channels}, per_neuron={per_neuron}"
            )
        named = {"layers": layers, "out_features": out_features, "per_neuron": per_neuron}
        check_counts(**{name: n for name, n in named.items() if n is not None})
        if identity and out_channels != in_channels:
            raise ValueError(f"identity needs out_channels={in_channels}, got {out_channels}")
        if recompute and norm == "batch":
            raise ValueError("recompute cuts the batch in pieces, whose batch norms would differ")
        if probes and in_channels != 1:
            raise ValueError(f"probes evaluate plain weights; got in_channels={in_channels}")
        if probes and (axis := f"n{len(space.widths) - 1}") in (project or {}):
            raise ValueError(f"probes answer on all of axis {axis}; do not project it as well")
        self.space, self.in_channels, self.out_channels = space, in_channels, out_channels
        self.standardize = Standardize(space)
        self.projections = nn.ModuleList()
        inner = space
        for axis, size in (project or {}).items():
            self.projections.append(Projection(inner, axis, size))
            inner = inner.resized(axis, size)
        seen, self.probe = inner, None
        if probes:
            self.probe = ProbeFeatures(space, probes, probe_activation, probe_w0)
            seen = self._with_answers(inner, self.probe)
        self.encodings = nn.ModuleList()
        channels = in_channels
        if fourier:
            encoding = FourierFeatures(seen, channels, fourier)
            self.encodings.append(encoding)
            channels = encoding.out_channels
        if permute:
            positions = PositionalEncoding(seen, channels, permute, position_channels)
            self.encodings.append(positions)
            channels = positions.out_channels
            seen, inner = seen.permutable(*permute), inner.permutable(*permute)
        self.seen = seen
        widths = [channels] + [hidden_channels] * layers
        self.layers = nn.ModuleList(
            EquivariantBlock(
                EquivariantLinear(seen if i == 0 else inner, a, b, pool, heads=heads, target=inner),
                activation,
                norm,
                residual and i > 0,
                dropout,
            )
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.head: InvariantHead | EquivariantLinear
        if out_features is not None:
            self.head = InvariantHead(inner, hidden_channels, out_features, pool, dropout)
        elif per_neuron is not None:
            self.head = EquivariantLinear(
                inner, hidden_channels, per_neuron, pool, target=space.neurons
            )
        else:
            assert out_channels is not None
            self.head = EquivariantLinear(inner, hidden_channels, out_channels, pool)
        self.identity, self.recompute = identity, recompute
        if identity:
            for p in self.head.parameters():
                nn.init.zeros_(p)

    @staticmethod
    def _with_answers(inner: WeightSpace, probe: ProbeFeatures) -> WeightSpace:
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
        blocks = cast("list[EquivariantBlock]", list(self.layers))
        following = [*(block.linear.pooling for block in blocks), self.head.pooling]
        pooled = Pooled.of(self.seen, x, following[0])
        for block, then in zip(blocks, following[1:], strict=True):
            pooled = block(pooled, then)
        if isinstance(self.head, InvariantHead):
            vectors: Tensor = self.head(pooled)
            return vectors
        out = self.head.on(pooled).features(self.head.out_channels)
        if self.out_channels is None:
            return out
        for projection in reversed(self.projections):
            out = cast(Projection, projection).expand(out)
        return self.standardize.add(given, out) if self.identity else out


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

    def forward(self, pooled: Pooled, then: AxisPool) -> Pooled:
        """Features of the layer's space -> of its target, to be pooled by ``then`` next."""
        dropping = self.training and self.dropout.p > 0
        plain = not (self.norms or self.residual or dropping)
        if plain and isinstance(self.activation, nn.ReLU):
            return self.linear.on(pooled, activate=True, then=then)
        space, known = self.linear.target, {}
        for (name, hidden), x in self.linear.on(pooled, then=None).known.items():
            if name in self.norms:
                rows = x.reshape(-1, self.linear.out_channels)
                x = self.norms[name](rows).view(x.shape)
            x = self.dropout(self.activation(x))
            known[name, hidden] = pooled.known[name, hidden] + x if self.residual else x
        return Pooled(space, known, then)


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

    @property
    def pooling(self) -> AxisPool:
        """Of its first layer."""
        return self.invariant.pooling

    def forward(self, pooled: Pooled) -> Tensor:
        """Features -> ``[m, out_features]``."""
        out: Tensor = self.output(self.dropout(torch.relu(self.invariant.on(pooled))))
        return out
