"""One recipe for every setting of a fit, and signals to fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo_gen import Fit

BASE = Fit((2, 8, 7, 1), w0=5.0, steps=6, learning_rate=1e-3)
RECIPES = {
    "sine, one input, three outputs": replace(BASE, widths=(1, 6, 5, 3)),
    "one hidden layer": replace(BASE, widths=(2, 9, 1)),
    "three hidden layers, three inputs": replace(BASE, widths=(3, 5, 20, 7, 2)),
    "wider than a vector": replace(BASE, widths=(2, 40, 33, 1), init="paper"),
    "relu": replace(BASE, activation="relu", init="default"),
    "tanh": replace(BASE, activation="tanh", init="default"),
    "gelu": replace(BASE, activation="gelu", init="default"),
    "fourier features": replace(
        BASE, activation="relu", init="default", fourier_features=5, fourier_scale=0.5
    ),
    "cross-entropy": replace(BASE, loss="cross_entropy", offset=0.0),
    "sgd": replace(BASE, optimizer="sgd", learning_rate=0.01),
    "sgd without momentum": replace(BASE, optimizer="sgd", momentum=0.0, learning_rate=0.01),
    "weight decay": replace(BASE, weight_decay=0.1),
    "cosine": replace(BASE, schedule="cosine"),
    "random points": replace(BASE, points_per_step=12),
}


def signals_for(fit: Fit, members: int, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Smooth targets in [0, 1] at random points."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (points, fit.widths[0])).astype(np.float32)
    waves = rng.normal(0, 2, (members, fit.widths[0], fit.widths[-1]))
    return x, (0.5 + 0.5 * np.sin(x @ waves)).astype(np.float32)
