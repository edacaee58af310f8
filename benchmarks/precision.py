"""What fewer bits in the matrix products cost a fit: PSNR of MNIST digits, emulated here.

    python benchmarks/precision.py --mnist DIR [--networks 24] [--init siren]

Both factors of every product are rounded (to nearest) to the bits that tensor cores keep: 11 of the
mantissa in tf32, 8 in bfloat16; ``tf32x3`` splits each factor in two such parts and leaves out the
product of the small ones. Sums, activations and the optimiser stay in float32, as on a GPU, whose
order of summation this does not copy. The networks, signals and first weights are the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from zoo_gen import Fit, Idx
from zoo_gen.make.fit import init
from zoo_gen.make.fit.choice import RUNS
from zoo_gen.make.fit.problem import Problem, losses, outputs

Product = Callable[[Tensor, Tensor], Tensor]
bmm, baddbmm = torch.bmm, torch.baddbmm


def rounded(x: Tensor, bits: int) -> Tensor:
    """The nearest numbers with so many bits of mantissa, the leading one included."""
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp(torch.round(mantissa * 2**bits), exponent - bits)


def once(bits: int) -> Product:
    """One product of rounded factors."""
    return lambda a, b: bmm(rounded(a, bits), rounded(b, bits))


def thrice(a: Tensor, b: Tensor) -> Tensor:
    """``tf32x3``."""
    high_a, high_b = rounded(a, 11), rounded(b, 11)
    low_a, low_b = rounded(a - high_a, 11), rounded(b - high_b, 11)
    return bmm(low_a, high_b) + bmm(high_a, low_b) + bmm(high_a, high_b)


@contextmanager
def products(product: Product) -> Iterator[None]:
    """The eager fit's products done so."""

    def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        return product(a, b) if out is None else out.copy_(product(a, b))

    def add(c: Tensor, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
        return out.copy_(product(a, b)).add_(c)

    torch.bmm, torch.baddbmm = multiply, add  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.bmm, torch.baddbmm = bmm, baddbmm


def main() -> None:
    """Print the median PSNR of each, and how it differs network by network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", required=True, help="directory of the four IDX files")
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--init", default="paper", choices=["paper", "siren"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    signals = Idx(path=options.mnist).load().limited(options.networks)
    rows = np.arange(options.networks)
    fit = Fit((2, 32, 32, 1), init=options.init, steps=options.steps)
    problem = Problem(fit, rows.tolist(), signals.coordinates, signals.targets(rows))
    ways: dict[str, Product] = {"float32": bmm, "tf32x3": thrice, "tf32": once(11)}
    exact = None
    for name, product in {**ways, "bfloat16": once(8)}.items():
        theta = init(fit, problem.seeds)
        with products(product):
            RUNS["eager"](problem, theta, lambda done: None)
        out = outputs(fit, theta, problem.x)
        psnr = -10 * losses(fit, out, torch.from_numpy(problem.y)).log10()
        exact = psnr if exact is None else exact
        apart = psnr - exact
        print(
            f"{name:<9} median PSNR {psnr.median():6.2f} dB; against float32, network by "
            f"network: {apart.mean():+.3f} dB on average, {apart.min():+.2f} to {apart.max():+.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
