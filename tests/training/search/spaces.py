"""A space with every kind of range, and what is optimised in it."""

from __future__ import annotations

from training.search.settings import Objective
from training.search.space import Dimension, Space
from zoo_gen import Draw

RATE = Dimension(("lr",), Draw(log_uniform=(1e-4, 1e-1)), default=1e-2)
LAYERS = Dimension(("layers",), Draw(uniform=(2, 5)), whole=True, default=3)
LISTS: tuple[tuple[int, ...], ...] = ((8,), (16, 8))
HIDDEN = Dimension(("hidden",), Draw(choice=LISTS), default=(8,))  # type: ignore[arg-type]
SPACE = Space((RATE, LAYERS, HIDDEN))
ACCURACY = Objective("val_accuracy", greater=True)
