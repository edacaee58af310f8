"""What a member of a zoo computes from its weights, as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite, pi
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dws import WeightSpace, forward
from dws.evaluate import ACTIVATIONS
from zoo_gen.errors import ConfigError

Array = npt.NDArray[np.float32]
Grid = Literal["ij", "xy"]

ALWAYS = ("activation", "w0", "offset")  # fields that older zoos write, whatever they are


@dataclass(frozen=True)
class ForwardPass:
    """``h_k = f(W_k h_{k-1} + b_k)`` from an encoding of a point, the last layer linear.

    A zoo has one for all of its members. Whoever draws, probes, augments or exports members takes
    it whole.

    Attributes:
        activation: of the hidden layers, a name that `dws.forward` knows; None where it is not
            known, or differs between members.
        w0: frequency of ``"sine"``; unused by the others.
        offset: added to the output.
        scaled_bias: of ``"sine"``, whether w0 multiplies the bias too: ``sin(w0 (W x + b))``, or
            else ``sin(w0 W x + b)``.
        output: ``"sigmoid"`` where the output is the logarithm of the odds, else ``"linear"``.
        fourier_features: cosines and as many sines of random projections of a point, which the
            network takes instead of the point; 0 for the point itself.
        fourier_scale: standard deviation of the entries of that projection.
        grid: meaning of the two coordinates of images, in numpy's words: ``"ij"`` is (row, column),
            ``"xy"`` is (column, row); None where it is not known, or there are no images.
        low: the value of a black pixel, where 1 is white.

    Raises:
        ConfigError: another activation, or numbers out of range.
    """

    activation: str | None = None
    w0: float = 30.0
    offset: float = 0.0
    scaled_bias: bool = True
    output: Literal["linear", "sigmoid"] = "linear"
    fourier_features: int = 0
    fourier_scale: float = 10.0
    grid: Grid | None = None
    low: float = 0.0

    def __post_init__(self) -> None:
        known = ("sine", *ACTIVATIONS)
        if self.activation not in (None, *known):
            raise ConfigError(
                f"activation: got {self.activation!r}, expected {', '.join(known)}; leave it out "
                "if the networks have another"
            )
        for key in ("w0", "fourier_scale"):
            if not (isfinite(value := getattr(self, key)) and value > 0):
                raise ConfigError(f"{key}: got {value}, expected a number above 0")
        if not isfinite(self.offset):
            raise ConfigError(f"offset: got {self.offset}, expected a finite number")
        if not (isfinite(self.low) and self.low < 1):
            raise ConfigError(f"low: got {self.low}, expected a number below 1")
        if self.output not in ("linear", "sigmoid"):
            raise ConfigError(f"output: got {self.output!r}, expected linear or sigmoid")
        if self.grid not in (None, "ij", "xy"):
            raise ConfigError(
                f"grid: got {self.grid!r}, expected ij (row, column) or xy (column, row)"
            )

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> ForwardPass:
        """What `to_dict` gave.

        Raises:
            ConfigError: keys or values that this version does not know.
        """
        names = {f.name for f in fields(cls)}
        if unknown := sorted(set(data or {}) - names):
            raise ConfigError(
                f"{unknown[0]}: unknown part of what networks compute; a newer dwszoo may have "
                "written it"
            )
        return cls(**(data or {}))

    def to_dict(self, explicit: tuple[str, ...] = ()) -> dict[str, Any]:
        """Plain data: the fields that are not their defaults, and these."""
        always = {*ALWAYS, *explicit}
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {n: v for n, v in values.items() if n in always or v != getattr(UNKNOWN, n)}

    def __str__(self) -> str:
        if self.activation is None:
            return "unknown activation"
        if self.activation != "sine":
            return self.activation
        return f"sine (w0 {self.w0:g}{'' if self.scaled_bias else ', of the weights alone'})"

    @property
    def sine_w0(self) -> float | None:
        """The frequency of sine units, None for others."""
        return self.w0 if self.activation == "sine" else None

    @property
    def bias_w0(self) -> float | None:
        """What the biases of sine units are multiplied by, None for other units."""
        return self.sine_w0 if self.scaled_bias or self.sine_w0 is None else 1.0

    def updated(self, **known: Any) -> ForwardPass:
        """The same with some fields replaced; those given as None stay. A w0 alone means sine."""
        given = {name: value for name, value in known.items() if value is not None}
        if "w0" in given and self.activation is None:
            given.setdefault("activation", "sine")
        return replace(self, **given)

    def inputs(self, coordinates: npt.NDArray[Any]) -> Array:
        """What the networks take at points ``[points, d]``, float32 ``[points, n_0]``.

        Points of images are (row, column), whatever the networks' own order is. Fourier features
        are cos(2 pi B x) and sin(2 pi B x) (Tancik et al. 2020), the entries of B from a normal
        distribution, the same for every zoo of these numbers.
        """
        x = np.ascontiguousarray(coordinates, np.float32)
        if self.grid == "xy" and x.shape[1] == 2:
            x = np.ascontiguousarray(x[:, ::-1])
        if not self.fourier_features:
            return x
        rng = np.random.Generator(np.random.PCG64(self.fourier_features))
        matrix = self.fourier_scale * rng.standard_normal((x.shape[1], self.fourier_features))
        angle = 2 * pi * (x @ matrix)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def logits(self, space: WeightSpace, theta: Tensor, inputs: Tensor) -> Tensor:
        """What the last layer answers, offset added: ``[m, points, n_M]``.

        Args:
            space: of an MLP.
            theta: ``[m, size]``.
            inputs: ``[m or 1, points, n_0]``, as `inputs` gives them.

        Raises:
            ConfigError: the activation is not known.
            ValueError: a space that is not an MLP's, or a wrong shape.
        """
        if self.activation is None:
            raise ConfigError(
                "the activation of these networks is not known; import them again with "
                "--activation (and --w0 for sine)"
            )
        answer = forward(space, theta, inputs, self.activation, self.w0, self.scaled_bias)
        return answer + self.offset

    def evaluate(self, space: WeightSpace, theta: Tensor, inputs: Tensor) -> Tensor:
        """What the networks give: `logits`, through the sigmoid where there is one."""
        answer = self.logits(space, theta, inputs)
        return torch.sigmoid(answer) if self.output == "sigmoid" else answer

    def render(self, space: WeightSpace, theta: Tensor, coordinates: npt.NDArray[Any]) -> Tensor:
        """What the networks draw at points ``[points, d]``: ``[m, points, n_M]``.

        Raises:
            ConfigError: the activation is not known.
            ValueError: a space that is not an MLP's, or points of another dimension.
        """
        points = torch.from_numpy(self.inputs(coordinates)).unsqueeze(0)
        batch = max(1, (1 << 20) // (points.shape[1] * max(space.widths)))
        return torch.cat([self.evaluate(space, some, points) for some in theta.split(batch)])


UNKNOWN = ForwardPass()
"""Of networks of which nothing is known."""
