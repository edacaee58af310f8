"""What a task reports of a model: its metrics, and what the model gives for each network."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """How good a model is.

    Attributes:
        name: as it is tracked: ``val_NAME``, ``test_NAME``.
        title: for people.
        greater: whether more is better.
        unit: after the number; ``"%"`` shows a share in percent.
        digits: after the point.
        best: the value that no model betters, None where there is none.
    """

    name: str
    title: str
    greater: bool
    unit: str = ""
    digits: int = 3
    best: float | None = None

    @property
    def heading(self) -> str:
        """Title and unit, for a column or an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def merit(self, value: float) -> float:
        """What is greater of a better value; NaN is worst."""
        return -math.inf if math.isnan(value) else value if self.greater else -value

    def scaled(self, value: float) -> float:
        """In its unit."""
        return 100 * value if self.unit == "%" else value

    def text(self, values: list[float]) -> str:
        """Mean and sample standard deviation, without the unit; the mean alone of one value."""
        shown = [self.scaled(v) for v in values]
        mean = f"{statistics.mean(shown):.{self.digits}f}"
        return f"{mean} ± {sample_deviation(shown):.{self.digits}f}" if len(shown) > 1 else mean


def sample_deviation(values: list[float]) -> float:
    """Sample standard deviation: 0 of one value, NaN where one of several is not finite."""
    if len(values) > 1 and not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Output:
    """What a trained model gives for each network: ``[m, size]``.

    Attributes:
        kind: ``"logits"`` of classes, ``"values"`` in the units of their columns, an
            ``"embedding"``, or changed ``"weights"`` of the same network.
        size: numbers per network.
        names: of the values, if they have any: columns, or classes as text, empty for a number that
            is no class of the zoo.
    """

    kind: Literal["logits", "values", "embedding", "weights"]
    size: int
    names: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "names": list(self.names)}
