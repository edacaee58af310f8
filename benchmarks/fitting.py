"""What a step of a fit costs, in every execution and beside other ways, all in one run.

    python benchmarks/fitting.py [--mnist DIR] [--plot FILE] [--quick]

Times are of one thread and its own processor time (`time.process_time`), the least of some rounds
that alternate, so that a busy machine distorts them little; those of two workers are by the clock.
The plain loop is one ``nn.Sequential`` after another under autograd and ``torch.optim.Adam``: what
a script does. The floor is what a step needs at the least if its matrix products ran at the rate of
torch's products of these shapes, or of one large product, and its sines and cosines at NumPy's.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import vector_to_parameters

from dws import forward
from zoo_gen import Digits, Fit, Idx
from zoo_gen.make.fit import init
from zoo_gen.make.fit.choice import RUNS
from zoo_gen.make.fit.problem import Problem, losses, outputs
from zoo_gen.sources.base import grid

ROUNDS = 4
MNIST = Fit((2, 32, 32, 1), init="paper")
DIGITS = Fit((2, 16, 16, 1), w0=3.0, init="paper", steps=300, learning_rate=0.01)


def plain_loop(problem: Problem, theta: torch.Tensor) -> None:
    """One network after another, in place."""
    fit, x = problem.fit, torch.from_numpy(problem.x)
    for row, y in zip(theta, torch.from_numpy(problem.y), strict=True):
        layers: list[nn.Module] = []
        for a, b in pairwise(fit.widths):
            layers += [nn.Linear(a, b), Sine(fit.w0)]
        net = nn.Sequential(*layers[:-1])
        vector_to_parameters(row.clone(), net.parameters())
        optimizer = torch.optim.Adam(net.parameters(), lr=fit.learning_rate)
        for _ in range(fit.steps):
            loss = (net(x) + fit.offset - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        row.copy_(torch.cat([p.detach().flatten() for p in net.parameters()]))


class Sine(nn.Module):
    """sin(w0 x)."""

    def __init__(self, w0: float) -> None:
        super().__init__()
        self.w0 = w0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return torch.sin(self.w0 * x)


def autograd(problem: Problem, theta: torch.Tensor) -> None:
    """All networks at once under autograd, in place."""
    fit, weights = problem.fit, theta.clone().requires_grad_()
    x, y = torch.from_numpy(problem.x)[None], torch.from_numpy(problem.y)
    optimizer = torch.optim.Adam([weights], lr=fit.learning_rate)
    for _ in range(fit.steps):
        out = forward(fit.space, weights, x, "sine", fit.w0) + fit.offset
        optimizer.zero_grad()
        (out - y).square().mean((1, 2)).sum().backward()
        optimizer.step()
    theta.copy_(weights.detach())


def jax_vmap(problem: Problem, theta: torch.Tensor) -> None:
    """All networks at once under ``jax.vmap``, in place; compiled before."""
    import jax
    import jax.numpy as jnp

    fit, widths = problem.fit, problem.fit.widths

    def net(w: Any, x: Any) -> Any:
        at = 0
        for k, (a, b) in enumerate(pairwise(widths)):
            x = x @ w[at : at + a * b].reshape(b, a).T + w[at + a * b : at + a * b + b]
            at += a * b + b
            x = jnp.sin(fit.w0 * x) if k < len(widths) - 2 else x
        return x + fit.offset

    def fitted(w: Any, y: Any) -> Any:
        gradient = jax.grad(lambda w: ((net(w, problem.x) - y) ** 2).mean())

        def step(state: Any, t: Any) -> Any:
            w, m, v = state
            g = gradient(w)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            a = fit.learning_rate / (1 - 0.9**t)
            return (w - a * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v), None

        start = (w, jnp.zeros_like(w), jnp.zeros_like(w))
        return jax.lax.scan(step, start, jnp.arange(1, fit.steps + 1))[0][0]

    key = (fit, len(problem.x), len(theta))
    if key not in JITTED:
        JITTED[key] = jax.jit(jax.vmap(fitted)).lower(theta.numpy(), problem.y).compile()
    theta.copy_(torch.from_numpy(np.array(JITTED[key](theta.numpy(), problem.y))))


JITTED: dict[Any, Any] = {}


def execution(name: str) -> Callable[[Problem, torch.Tensor], None]:
    """One of ours."""
    return lambda problem, theta: RUNS[name](problem, theta, lambda done: None)


def problem_of(fit: Fit, points: int, members: int, targets: Any = None) -> Problem:
    """Networks to fit to smooth random signals on a square grid, or to these targets."""
    side = round(points**0.5)
    x = grid(side, side)
    if targets is None:
        waves = np.random.default_rng(0).normal(0, 4, (members, 2, fit.widths[-1]))
        targets = (0.5 + 0.5 * np.sin(x @ waves)).astype(np.float32)
    return Problem(fit, list(range(members)), x, targets)


def milliseconds(fits: Callable[[Problem, torch.Tensor], None], problem: Problem) -> float:
    """Per step and network."""
    theta = init(problem.fit, problem.seeds)
    start = time.process_time()
    fits(problem, theta)
    return (time.process_time() - start) / len(theta) / problem.fit.steps * 1e3


def ways() -> dict[str, tuple[Callable[[Problem, torch.Tensor], None], int, int]]:
    """Name -> what fits, networks, and steps that are enough to time it."""
    found: dict[str, tuple[Callable[[Problem, torch.Tensor], None], int, int]] = {
        "plain loop": (plain_loop, 1, 60),
        "batched autograd": (autograd, 16, 15),
        "eager": (execution("eager"), 16, 30),
        "compiled": (execution("compiled"), 4, 300),
    }
    try:
        import jax

        jax.config.update("jax_platforms", "cpu")
        found["jax.vmap"] = (jax_vmap, 16, 30)
    except ImportError:
        pass
    return found


def compare(name: str, fit: Fit, points: int, targets: Any) -> None:
    """Every way to fit, interleaved."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for way, (fits, members, steps) in ways().items():
            some = None if targets is None else targets[:members]
            problem = problem_of(replace(fit, steps=steps), points, members, some)
            if way == "jax.vmap" and way not in best:
                fits(problem, init(fit, problem.seeds))
            best[way] = min(best.get(way, np.inf), milliseconds(fits, problem))
    shapes, large = floors(fit, points)
    print(f"\n{name}, {points} points: ms per step and network")
    for way, ms in best.items():
        print(f"  {way:<18} {ms:8.4f}   {best['plain loop'] / ms:6.1f} x the plain loop")
    for what, ms in (("torch's products of these shapes", shapes), ("a large product", large)):
        share = ms / best["compiled"]
        print(f"  floor at the rate of {what:<34} {ms:8.4f}   {share:6.2f} of the compiled fit")


def agreement(name: str, fit: Fit, points: int, targets: Any) -> None:
    """Losses after all steps, from the same weights, against the plain loop's."""
    problem = problem_of(fit, points, 3, None if targets is None else targets[:3])
    found = {}
    for way in ("plain loop", "eager", "compiled"):
        theta = init(fit, problem.seeds)
        ways()[way][0](problem, theta)
        y = torch.from_numpy(problem.y)
        found[way] = losses(fit, outputs(fit, theta, problem.x), y).mean().item()
    differences = ", ".join(
        f"{way} {loss / found['plain loop'] - 1:+.3%}" for way, loss in found.items()
    )
    print(
        f"  mean loss of 3 networks after {fit.steps} steps against the plain loop's: {differences}"
    )


def floors(fit: Fit, points: int) -> tuple[float, float]:
    """What a step takes at the least, in ms: at torch's rate of these products, of a large one."""
    products, operations, m = 0.0, 0.0, 16
    for k, (a, b) in enumerate(pairwise(fit.widths)):
        w, h, d = torch.rand(m, b, a), torch.rand(m, a, points), torch.rand(m, b, points)
        calls = [(torch.bmm, (w, h)), (torch.bmm, (d, h.mT))]
        calls += [(torch.bmm, (w.mT, d))] if k else []
        products += sum(least(lambda f=f, x=x: f(*x)) for f, x in calls) / m
        operations += 2 * a * b * points * len(calls)
    z, out = np.random.default_rng(0).random(sum(fit.widths[1:-1]) * points, np.float32), None
    out = np.empty_like(z)
    waves = least(lambda: np.sin(z, out=out)) + least(lambda: np.cos(z, out=out))
    square = torch.rand(768, 768)
    rate = 2 * 768**3 / least(lambda: torch.mm(square, square))
    return (products + waves) * 1e3, (operations / rate + waves) * 1e3


def least(call: Callable[[], object], rounds: int = 30) -> float:
    """Seconds of processor time of the quickest call."""
    best = np.inf
    for _ in range(rounds):
        start, calls = time.process_time(), 0
        while time.process_time() - start < 2e-3:
            call()
            calls += 1
        best = min(best, (time.process_time() - start) / calls)
    return float(best)


def sweep(quick: bool) -> dict[str, list[tuple[int, float]]]:
    """Milliseconds per step and network of the compiled fit, along each axis."""
    found: dict[str, list[tuple[int, float]]] = {"members": [], "points": [], "width": []}
    run = execution("compiled")
    for members in (1, 4, 16, 64, 256):
        problem = problem_of(replace(MNIST, steps=100 if members < 64 else 20), 784, members)
        found["members"].append((members, min(milliseconds(run, problem) for _ in range(3))))
    for side in (8, 16, 32, 64, 128) if quick else (8, 16, 32, 64, 128, 256):
        steps = max(3, 100000 // side**2)
        problem = problem_of(replace(MNIST, steps=steps), side**2, 2)
        found["points"].append((side**2, min(milliseconds(run, problem) for _ in range(3))))
    for width in (8, 16, 24, 32, 48, 64, 128):
        problem = problem_of(replace(MNIST, widths=(2, width, width, 1), steps=40), 784, 2)
        found["width"].append((width, min(milliseconds(run, problem) for _ in range(3))))
    print("\ncompiled fit, 2-32-32-1 on 784 points except where noted: ms per step and network")
    for axis, times in found.items():
        print(f"  {axis:<8} " + "  ".join(f"{n}: {ms:.4f}" for n, ms in times))
    return found


def plot(found: dict[str, list[tuple[int, float]]], file: str) -> None:
    """Time against members, points and width, each beside a line of slope 1 or a constant."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for ax, (axis, times) in zip(axes, found.items(), strict=True):
        n, ms = np.array(times).T
        ax.loglog(n, ms, "o-")
        slope = {"members": 0, "points": 1, "width": 2}[axis]
        ax.loglog(n, ms[-1] * (n / n[-1]) ** slope, ":", color="gray", label=f"slope {slope}")
        ax.set(xlabel=axis, ylabel="ms per step and network")
        if axis == "members":  # else the noise would fill the height
            ax.set_ylim(ms.mean() / 10, ms.mean() * 10)
        ax.legend()
    figure.suptitle("Compiled fit, 2-32-32-1 on 784 points but for what varies; one core")
    figure.savefig(file, dpi=110)


def _work(members: int) -> float:
    torch.set_num_threads(1)
    problem = problem_of(replace(MNIST, steps=300), 784, members)
    execution("compiled")(problem, init(problem.fit, problem.seeds))
    return time.perf_counter()


def workers() -> None:
    """Networks per second of two processes against one, by the clock."""
    best = {1: 0.0, 2: 0.0}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_work, [1, 1]))
        for _ in range(ROUNDS):
            for count in best:
                start = time.perf_counter()
                list(pool.map(_work, [64] * count))
                best[count] = max(best[count], 64 * count / (time.perf_counter() - start))
    print(
        f"\ntwo workers on two cores: {best[2] / best[1]:.2f} times one ({best[1]:.1f} -> "
        f"{best[2]:.1f} networks of 300 steps per second)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", help="directory of the four IDX files, for real signals")
    parser.add_argument("--plot", help="where to write the plot of the sweep (PNG)")
    parser.add_argument("--quick", action="store_true", help="leave the largest images out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    images = None
    if options.mnist:
        images = Idx(path=options.mnist).load().limited(100).targets(np.arange(16))
    compare("mnist 2-32-32-1", MNIST, 784, images)
    agreement("mnist", MNIST, 784, images)
    digits = Digits().load().targets(np.arange(16))
    compare("digits 2-16-16-1", DIGITS, 64, digits)
    agreement("digits", DIGITS, 64, digits)
    found = sweep(options.quick)
    if options.plot:
        plot(found, options.plot)
    workers()


if __name__ == "__main__":
    main()
