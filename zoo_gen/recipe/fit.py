"""How one network is fitted to one signal: the recipe that every execution follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from dws import WeightSpace
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.recipe.maker import FORMAT, Maker
from zoo_gen.sources import Signals
from zoo_gen.sources.base import at_least

Fitting = Literal["auto", "fused", "compiled", "eager"]
"""Which execution fits; no part of a recipe (`zoo_gen.make.fit.choose`)."""

UNLESS_DEFAULT = "unless default"  # of a field's `hash`: it is younger than zoos that lack it


def _young(default: Any) -> Any:
    """A field that is part of the hash where it is not its default."""
    return field(default=default, metadata={"hash": UNLESS_DEFAULT})


@dataclass(frozen=True)
class Fit(Maker):
    """How one network is fitted to one signal.

    Attributes:
        widths: neurons per layer, inputs first.
        w0: frequency of sine units.
        init: ``"siren"`` (Sitzmann et al. 2020, section 3.2); ``"paper"`` (as Navon et al. 2023
            did: every layer but the last from U(+-sqrt(6/in)/w0), hidden biases 0, the last layer
            PyTorch's default); or ``"default"``, PyTorch's for all layers, which the other
            activations need.
        steps: of the optimiser, at most.
        learning_rate: of the first step.
        offset: added to the output, so that zero weights mean gray.
        activation: sine, relu, tanh or gelu.
        shared_init: whether the first networks of all signals begin with the same weights, so do
            the second ones (``views``), and so on.
        fourier_features: cosines and as many sines of random projections of the coordinates, which
            the network takes instead of them; 0 for the coordinates.
        fourier_scale: standard deviation of the entries of that projection.
        loss: ``"mse"``, the mean squared error; or ``"cross_entropy"`` of each output by itself,
            which stands for the logarithm of the odds (for occupancy; with ``offset: 0``).
        optimizer: ``"adam"`` (beta 0.9, 0.999; epsilon 1e-8) or ``"sgd"``.
        momentum: of ``"sgd"``.
        weight_decay: times the weights, added to the gradient (as torch.optim does).
        schedule: of the learning rate: constant, or half a cosine down to 0.
        points_per_step: random points, with replacement, that a step sees; 0 for all of them.
        target_loss: a network whose loss (over the points of a step) has come down to it is done;
            0 for never. Of images 1e-4 means 40 dB.
        kind: of maker; no part of the hash, which is older than this field.
    """

    widths: tuple[int, ...]
    w0: float = 30.0
    init: Literal["siren", "paper", "default"] = "siren"
    steps: int = 1000
    learning_rate: float = 5e-4
    offset: float = 0.5
    activation: Literal["sine", "relu", "tanh", "gelu"] = _young("sine")
    shared_init: bool = _young(False)
    fourier_features: int = _young(0)
    fourier_scale: float = _young(10.0)
    loss: Literal["mse", "cross_entropy"] = _young("mse")
    optimizer: Literal["adam", "sgd"] = _young("adam")
    momentum: float = _young(0.9)
    weight_decay: float = _young(0.0)
    schedule: Literal["constant", "cosine"] = _young("constant")
    points_per_step: int = _young(0)
    target_loss: float = _young(0.0)
    kind: Literal["siren"] = field(default="siren", metadata={"hash": False})

    format: ClassVar[int] = FORMAT
    per_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.widths) < 3 or min(self.widths) < 1:
            raise ConfigError(
                f"widths: got {list(self.widths)}, expected input, one or more hidden and "
                "output widths, each 1 or more, for example [2, 32, 32, 1]"
            )
        at_least("steps", self.steps, 1)
        for key in ("learning_rate", "w0", "fourier_scale"):
            _positive(key, getattr(self, key))
        if not np.isfinite(self.offset):
            raise ConfigError(f"offset: got {self.offset}, expected a finite number")
        if self.activation != "sine" and self.init != "default":
            raise ConfigError(
                f"init: got {self.init}, which is made for sine; {self.activation} takes default"
            )
        for key in ("fourier_features", "points_per_step"):
            at_least(key, getattr(self, key), 0)
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum: got {self.momentum}, expected 0 or more, below 1")
        for key in ("weight_decay", "target_loss"):
            if not 0 <= getattr(self, key) < np.inf:
                raise ConfigError(f"{key}: got {getattr(self, key)}, expected 0 or more")

    @property
    def space(self) -> WeightSpace:
        """The weight space of the fitted networks."""
        inputs = 2 * self.fourier_features or self.widths[0]
        return WeightSpace.mlp((inputs, *self.widths[1:]))

    def space_of(self, signals: Signals) -> WeightSpace:
        """The same, whatever the signals are."""
        return self.space

    def views(self, views: int, rows_per_shard: int) -> int:
        """As the config gives them."""
        return views

    def visible(self, signals: Signals, limit: int | None) -> Signals:
        """The first, of each part of the source in proportion."""
        return signals.limited(limit)

    def groups(self, signals: Signals, limit: int | None) -> int:
        """One for each signal that is visible."""
        expected = (signals.coordinates.shape[1], signals.values.shape[2])
        if (self.widths[0], self.widths[-1]) != expected:
            raise ConfigError(
                f"zoo.fit.widths: got {list(self.widths)}, but the signals have {expected[0]} "
                f"inputs and {expected[1]} output(s): the first and last width must be those"
            )
        return len(signals)

    def seed_index(self, member: int, views: int) -> int:
        """The view alone where the initialisation is shared."""
        return member % views if self.shared_init else member

    def columns(self, signals: Signals) -> tuple[str, ...]:
        """Those of the signals."""
        return tuple(signals.columns)

    def label_count(self, signals: Signals) -> int | None:
        """Of the signals."""
        label = signals.columns.get("label")
        return None if label is None else int(np.max(label)) + 1

    @property
    def members_are(self) -> str:
        """Networks of images or of other functions."""
        return "networks of images" if self.coordinates == 2 else "networks of functions"

    @property
    def coordinates(self) -> int:
        """Coordinates of a point."""
        return self.widths[0]

    @property
    def divergence_remedy(self) -> str:
        """A lower learning rate."""
        return f"lower zoo.fit.learning_rate ({self.learning_rate:g})"

    def gpu_operations(self, members: int, points: int) -> float:
        """Those of matrix products, about."""
        return 6.0 * members * self.steps * (self.points_per_step or points) * self.space.size

    @property
    def forward_pass(self) -> ForwardPass:
        """What the fitted networks compute."""
        return ForwardPass(
            activation=self.activation,
            w0=self.w0,
            offset=self.offset,
            output="sigmoid" if self.loss == "cross_entropy" else "linear",
            fourier_features=self.fourier_features,
            fourier_scale=self.fourier_scale if self.fourier_features else UNKNOWN.fourier_scale,
            grid="ij" if self.widths[0] == 2 else None,  # as every source lays out its points
        )


def _positive(key: str, value: float) -> None:
    if not (value > 0 and np.isfinite(value)):
        raise ConfigError(f"{key}: got {value}, expected a positive number")
