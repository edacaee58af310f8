"""Networks fitted per second: the batched fit against the plain loop, in one run, on one thread.

    python benchmarks/fitting.py [--mnist DIR]

The plain loop is one ``nn.Sequential`` after another under autograd and ``torch.optim.Adam``: what
a script does. Both start from the same weights and take the same steps on the same signals; the
last column tells how far apart the losses are at which they end. Rounds alternate, so that a drift
of the machine meets both.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from zoo_gen import Digits, Fit, Idx, Signals
from zoo_gen.fit import fit_networks, init, render

ROUNDS = 3


class Sine(nn.Module):
    """sin(w0 x)."""

    def __init__(self, w0: float) -> None:
        super().__init__()
        self.w0 = w0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return torch.sin(self.w0 * x)


def plain_loop(fit: Fit, seeds: list[int], x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One network after another."""
    fitted = []
    for seed, y in zip(seeds, targets, strict=True):
        layers: list[nn.Module] = []
        for a, b in zip(fit.widths, fit.widths[1:], strict=False):
            layers += [nn.Linear(a, b), Sine(fit.w0)]
        net = nn.Sequential(*layers[:-1])
        vector_to_parameters(init(fit, [seed])[0], net.parameters())
        optimizer = torch.optim.Adam(net.parameters(), lr=fit.learning_rate)
        for _ in range(fit.steps):
            loss = (net(x) + fit.offset - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        fitted.append(parameters_to_vector(net.parameters()).detach())
    return torch.stack(fitted)


def measure(name: str, fit: Fit, signals: Signals, networks: int, plain: int) -> None:
    """Print networks per second of both and the ratio, round by round."""
    rows = np.arange(networks) % len(signals)
    targets, x = signals.targets(rows), torch.from_numpy(signals.coordinates)
    seeds = list(range(networks))
    fit_networks(replace(fit, steps=3), seeds, signals.coordinates, targets)  # warm the allocator
    ratios, rates = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        fast = fit_networks(fit, seeds, signals.coordinates, targets)
        middle = time.perf_counter()
        slow = plain_loop(fit, seeds[:plain], x, torch.from_numpy(targets[:plain]))
        end = time.perf_counter()
        rates.append((networks / (middle - start), plain / (end - middle)))
        ratios.append(rates[-1][0] / rates[-1][1])
    error = render(fit, slow, signals.coordinates) - torch.from_numpy(targets[:plain])
    loss = error.square().mean().item()
    agreement = fast.loss[:plain].mean().item() / loss - 1
    print(
        f"{name:<28} {statistics.median(r[1] for r in rates):>8.2f} "
        f"{statistics.median(r[0] for r in rates):>9.2f} "
        f"{statistics.median(ratios):>7.1f} ({min(ratios):.1f} to {max(ratios):.1f})  "
        f"{fast.psnr.median():>6.1f} dB {agreement:>+9.2%}"
    )


def main() -> None:
    """Measure the recipes of the built-in configs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", help="directory of the four IDX files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    heads = f"{'recipe':<28} {'plain/s':>8} {'batched/s':>9} {'ratio':>7}"
    print(f"{heads} {'':<14} {'PSNR':>6}    loss vs plain")
    digits = Fit((2, 16, 16, 1), w0=3.0, init="paper", steps=300, learning_rate=0.01)
    measure("digits 2-16-16-1, 300 steps", digits, Digits().load(), 512, 8)
    if options.mnist:
        paper = Fit((2, 32, 32, 1), init="paper", steps=1000)
        signals = Idx(path=options.mnist).load().limited(100)
        measure("mnist 2-32-32-1, 1000 steps", paper, signals, 40, 4)


if __name__ == "__main__":
    main()
