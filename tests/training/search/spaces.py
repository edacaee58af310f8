"""A space with every kind of range, and what is made best in it."""

from __future__ import annotations

from training.search.settings import Objective
from training.search.space import Dimension, Range, Space

RATE = Dimension(("lr",), Range(log_uniform=(1e-4, 1e-1)), default=1e-2)
LAYERS = Dimension(("layers",), Range(uniform=(2, 5)), whole=True, default=3)
HIDDEN = Dimension(("hidden",), Range(choice=((8,), (16, 8))), default=(8,))
SPACE = Space((RATE, LAYERS, HIDDEN))
ACCURACY = Objective("val_accuracy", greater=True)
