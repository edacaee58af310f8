"""Does a zoo made with the paper's recipe look like the paper's? Weights, PSNR, pictures of MNIST.

    python benchmarks/fingerprint.py --mnist DIR [--networks 500] [--pictures DIR]

Compared are standard deviations of weights and biases per layer with those of the zoo that the
paper's authors released (AvivNavon/DWSNets, MNIST). The published recipe (Adam 5e-4,
1,000 steps, stop at 40 dB) and some near it; each fits the same digits from the same weights.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from zoo_gen import Fit, Idx, Signals
from zoo_gen.make.fit import Fitted, fit_networks

PUBLISHED = Fit((2, 32, 32, 1), init="paper", target_loss=1e-4)
RECIPES = {
    "as published: 5e-4, 1,000 steps": PUBLISHED,
    "5e-4, 1,500 steps": replace(PUBLISHED, steps=1500),
    "5e-4, 2,000 steps": replace(PUBLISHED, steps=2000),
    "1e-3, 1,000 steps": replace(PUBLISHED, learning_rate=1e-3),
    "1e-3, 1,300 steps": replace(PUBLISHED, learning_rate=1e-3, steps=1300),
    "1e-3, 1,500 steps": replace(PUBLISHED, learning_rate=1e-3, steps=1500),
    "standard SIREN init, as published": replace(PUBLISHED, init="siren"),
}
RELEASED = (0.0628, 0.0183, 0.1179, 0.0213, 0.0110, 0.0999)


def fingerprint(fit: Fit, theta: torch.Tensor) -> list[float]:
    """Standard deviations of W1 to W3, then of b1 to b3."""
    parts = fit.space.split(theta)
    return [parts[f"{kind}{k}"].std().item() for kind in "Wb" for k in (1, 2, 3)]


def pictures(fit: Fit, fitted: Fitted, signals: Signals, folder: Path) -> None:
    """A histogram of PSNR, and targets beside renders and differences."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    ax.hist(fitted.psnr.numpy(), bins=40)
    ax.axvline(40, color="gray", ls=":", label="target")
    ax.set(xlabel="PSNR (dB)", ylabel="networks", title="MNIST, 2-32-32-1, the recipe as published")
    ax.legend()
    figure.savefig(folder / "mnist-psnr.png", dpi=110)
    rows = np.argsort(fitted.psnr.numpy())[:: max(1, len(fitted.psnr) // 10)][:10]
    drawn = fit.forward_pass.render(
        fit.space, fitted.theta[rows.copy()], signals.coordinates
    ).numpy()[..., 0]
    target = signals.targets(rows)[..., 0]
    figure, axes = plt.subplots(3, len(rows), figsize=(len(rows), 3.4), layout="constrained")
    sheets = (target, drawn, 0.5 + 2 * (drawn - target))
    names = ("target", "network", "difference x 2")
    for line, sheet, name in zip(axes, sheets, names, strict=True):
        for ax, image, psnr in zip(line, sheet, fitted.psnr[rows.copy()], strict=True):
            ax.imshow(image.reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            if name == "target":
                ax.set_title(f"{psnr:.1f} dB", fontsize=8)
        line[0].set_ylabel(name, fontsize=8)
    figure.savefig(folder / "mnist-pictures.png", dpi=110)


def main() -> None:
    """Fit and print a line per recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", required=True, help="directory of the four IDX files")
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument("--pictures", type=Path, help="folder for two pictures of the first recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    signals = Idx(path=options.mnist).load().limited(options.networks)
    rows = np.arange(options.networks)
    print(f"{options.networks} digits; std of W1 W2 W3, b1 b2 b3; worst ratio to the released zoo")
    print(f"{'released':<30}" + "  ".join(f"{v:.4f}" for v in RELEASED))
    for name, fit in RECIPES.items():
        fitted = fit_networks(fit, rows.tolist(), signals.coordinates, signals.targets(rows))
        found = fingerprint(fit, fitted.theta)
        worst = max(
            (a / b for a, b in zip(found, RELEASED, strict=True)), key=lambda r: abs(np.log(r))
        )
        low, middle, high = np.percentile(fitted.psnr, (5, 50, 95))
        row = "  ".join(f"{v:.4f}" for v in found)
        early = int((fitted.steps < fit.steps).sum())
        print(
            f"{name:<30}{row}  {worst:5.2f}  PSNR {middle:.1f} dB ({low:.1f} to {high:.1f} for "
            f"nine in ten), {early} reached 40 dB",
            flush=True,
        )
        if options.pictures and fit is PUBLISHED:
            pictures(fit, fitted, signals, options.pictures)


if __name__ == "__main__":
    main()
