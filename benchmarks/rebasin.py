"""Two networks that were trained apart, brought into one basin: the loss between them.

    python benchmarks/rebasin.py --cifar10 DIR --mnist DIR --keep nets

Trains two ResNet-20s with batch norm on CIFAR-10 and two small transformers on the rows of MNIST
digits, from different seeds. `WeightSpace.from_module` derives the symmetry of each, `dws.align`
reorders the second network towards the first, and the loss is measured on the line between them:
before, after, and after with the statistics of batch norms taken anew (`reset_batch_norms`). The
*barrier* is the largest excess of the loss over the line between the losses of the two ends. It
also says by how much the outputs of the reordered network differ, in float64.

With ``--keep`` trained networks are kept in a folder and found there again.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rebasin_networks import Data, ResNet20, RowTransformer, cifar10, mnist, train
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dws import WeightSpace, align

STEPS = 11  # points on the line, its ends included


@dataclass(frozen=True)
class Case:
    """An architecture, its data and its training."""

    name: str
    build: Callable[[], nn.Module]
    read: Callable[..., Data]
    folder: Path
    epochs: int
    lr: float


@torch.no_grad()
def evaluate(net: nn.Module, data: Data) -> tuple[float, float]:
    """Mean loss and accuracy."""
    net.eval()
    loss = correct = 0.0
    for x, y in zip(data[0].split(500), data[1].split(500), strict=True):
        out = net(x)
        loss += cross_entropy(out, y, reduction="sum").item()
        correct += (out.argmax(1) == y).sum().item()
    return loss / len(data[0]), correct / len(data[0])


@torch.no_grad()
def reset_batch_norms(net: nn.Module, x: Tensor) -> None:
    """Running statistics as the mean over batches of these inputs."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    net.train()
    for batch in x.split(500):
        net(batch)
    net.eval()


def between(
    net: nn.Module, space: WeightSpace, a: Tensor, b: Tensor, data: Data, reset: Tensor | None
) -> tuple[float, float, float]:
    """Barrier, and loss and accuracy halfway."""
    points = []
    for k in range(STEPS):
        t = k / (STEPS - 1)
        space.load(net, torch.lerp(a, b, t))
        if reset is not None and 0 < k < STEPS - 1:
            reset_batch_norms(net, reset)
        points.append(evaluate(net, data))
    losses = [loss for loss, _ in points]
    line = [losses[0] + k / (STEPS - 1) * (losses[-1] - losses[0]) for k in range(STEPS)]
    barrier = max(loss - straight for loss, straight in zip(losses, line, strict=True))
    return barrier, *points[STEPS // 2]


def trained(case: Case, seed: int, keep: Path | None) -> nn.Module:
    """A network of this seed, from the folder if it is there."""
    torch.manual_seed(seed)
    net = case.build().to(memory_format=torch.channels_last)
    path = keep and keep / f"{case.name} {seed}.pt"
    if path is not None and path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        train(net, case.read(case.folder, "train"), case.epochs, case.lr, seed)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(net.state_dict(), path)
    return net.eval()


def measure(case: Case, arguments: argparse.Namespace) -> None:
    """One row per way to go from one network to the other."""
    first, second = (trained(case, seed, arguments.keep) for seed in arguments.seeds)
    data = case.read(case.folder, "test", arguments.test)
    seen = case.read(case.folder, "train", arguments.reset)[0]
    x = data[0]
    for name, net in (("first", first), ("second", second)):
        print(f"{case.name}, {name}: loss %.3f, accuracy %.3f" % evaluate(net, data), flush=True)

    start = time.perf_counter()
    space = WeightSpace.from_module(first, x[:2])
    derived = time.perf_counter() - start
    a, b = space.vector(first), space.vector(second)
    start = time.perf_counter()
    moved = align(space, b[None], a)[0]
    aligned = time.perf_counter() - start
    print(
        f"{space.size:,} weights and statistics; derived in {derived:.1f} s, aligned in "
        f"{aligned:.1f} s; distance {(a - b).norm():.2f} -> {(a - moved).norm():.2f}"
    )
    other = copy.deepcopy(second).double()
    before = other(x[:100].double())
    space.load(other, moved.double())
    change = (other(x[:100].double()) - before).abs().max() / before.abs().max()
    print(f"the reordered network's outputs differ by {change:.1e} of the largest (float64)")

    norms = any(isinstance(m, nn.BatchNorm2d) for m in first.modules())
    print("| from first to second | barrier | loss halfway | accuracy halfway |\n|---|---|---|---|")
    for name, end, reset in (
        ("as trained", b, None),
        ("as trained, batch norms reset", b, seen),
        ("aligned", moved, None),
        ("aligned, batch norms reset", moved, seen),
    ):
        if reset is None or norms:
            found = between(copy.deepcopy(first), space, a, end, data, reset)
            print(f"| {case.name}, {name} | " + " | ".join(f"{n:.3f}" for n in found) + " |")


def main() -> None:
    """Parse, train what is missing, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cifar10", type=Path, help="folder of train.parquet and test.parquet")
    parser.add_argument("--mnist", type=Path, help="folder of the four original files")
    parser.add_argument("--keep", type=Path, help="folder of trained networks")
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 1])
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--test", type=int, default=2000, help="pictures that losses are taken of")
    parser.add_argument("--reset", type=int, default=2000, help="pictures that statistics are of")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = []
    if arguments.cifar10:
        build = lambda: ResNet20(arguments.width)  # noqa: E731
        folder, epochs = arguments.cifar10, arguments.epochs
        cases.append(Case("ResNet-20", build, cifar10, folder, epochs, 5e-3))
    if arguments.mnist:
        build = lambda: RowTransformer(64)  # noqa: E731
        cases.append(Case("transformer", build, mnist, arguments.mnist, 3, 2e-3))
    if not cases:
        parser.error("give --cifar10 DIR, --mnist DIR or both")
    for case in cases:
        if not case.folder.is_dir():
            parser.error(f"{case.folder} is not a folder")
    for case in cases:
        measure(case, arguments)


if __name__ == "__main__":
    main()
