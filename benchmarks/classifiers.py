"""Training steps per second: batches of classifiers against the plain loop, in one run, one thread.

    python benchmarks/classifiers.py

The plain loop is one ``nn.Sequential`` after another under autograd and ``torch.optim``: what a
script does. Both start from the same weights and see the same images in the same order, cut out of
the same array; the last column is how far apart the weights end. Rounds alternate, so that a
drift of the machine meets both. The images are noise: what they show does not change the time.
"""

from __future__ import annotations

import platform
import statistics
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from zoo_gen.make.classifiers import Classifier, Cnn, Mlp
from zoo_gen.make.classifiers.runs import ClassifierRun, Order, draw_run
from zoo_gen.make.classifiers.train import train
from zoo_gen.sources.labelled import LabelledImages

ROUNDS = 5
COUNT = 20_000


def plain_loop(fit: Classifier, run: ClassifierRun, images: LabelledImages) -> torch.Tensor:
    """One network, as anybody would train it."""
    net = fit.network.module(images.shape, images.classes, str(run.settings["activation"]))
    space = fit.space(images.shape, images.classes)
    vector_to_parameters(torch.from_numpy(run.initial(space)), net.parameters())
    adam = torch.optim.Adam(net.parameters(), run.number("learning_rate"))
    rows, label = run.training(images)
    order = Order(run, len(rows))
    for _ in range(run.steps):
        now = order.take(fit.batch_size)
        x = torch.from_numpy(images.take(rows[now])).unflatten(1, images.shape)
        loss = cross_entropy(net(x), torch.from_numpy(label[now]))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return parameters_to_vector(net.parameters()).detach()


def measure(name: str, fit: Classifier, side: int, plain: int) -> None:
    """Print network steps per second of both and the ratio, round by round."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, side * side, 1), np.uint8)
    rows = np.arange(COUNT)
    images = LabelledImages(
        pixels, rng.integers(0, 10, COUNT), rows[100:], rows[:100], (1, side, side)
    )
    runs = [draw_run(fit, seed, None) for seed in range(fit.runs)]
    ratios, rates = [], []
    for round_ in range(ROUNDS + 1):
        start = time.perf_counter()
        fast = train(fit, runs, images)[:, -1]
        middle = time.perf_counter()
        slow = torch.stack([plain_loop(fit, run, images) for run in runs[:plain]])
        end = time.perf_counter()
        if round_:  # the first warms both
            steps = int(str(fit.steps))
            rates.append((fit.runs * steps / (middle - start), plain * steps / (end - middle)))
            ratios.append(rates[-1][0] / rates[-1][1])
    apart = (fast[:plain] - slow).abs().max().item()
    print(
        f"{name:<36} {statistics.median(r[1] for r in rates):>9.0f} "
        f"{statistics.median(r[0] for r in rates):>9.0f} "
        f"{statistics.median(ratios):>7.1f} ({min(ratios):.1f} to {max(ratios):.1f})  {apart:>9.1e}"
    )


def main() -> None:
    """Measure the architectures of the built-in configs, with Adam."""
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    heads = f"{'network, images per step':<36} {'plain/s':>9} {'batched/s':>9} {'ratio':>7}"
    print(f"{heads} {'':<14} {'apart':>9}")
    mlp, cnn = Mlp((32, 32)), Cnn((16, 16, 16))
    for batch in (32, 64, 256):
        fit = Classifier(mlp, runs=64, batch_size=batch, steps=40)
        measure(f"MLP 784-32-32-10, {batch}", fit, 28, plain=8)
    for batch in (16, 32, 128):
        fit = Classifier(cnn, runs=8, batch_size=batch, steps=20)
        measure(f"CNN 1-16-16-16-10 on 32x32, {batch}", fit, 32, plain=4)


if __name__ == "__main__":
    main()
