"""The paper's MNIST experiment in one process: fit every network, train DWSNets.

    python benchmarks/reproduce.py --mnist DIR           all 70,000 images, on a GPU if there is one
    python benchmarks/reproduce.py --mnist DIR --limit 500 --epochs 2 --seeds 0     minutes on a CPU
    python benchmarks/reproduce.py --zoo dwszoo-data/zoos/mnist-1a36094f    networks already fitted

Needs neither Ray nor MLflow. Networks are those of the config ``mnist`` (the paper's recipe, one
view, random initialisation, its split), from the same seeds. The first row is that config's
``dwsnet``, the others change what they name; all share optimiser, epochs and batch size, nothing is
tuned here. (The complete basis has no row: of networks with one output the paper's code has it
too.) The best validation epoch is kept, and the test split is evaluated once per model. The clock
of "85% after" starts before the first network is fitted, or with ``--zoo`` before the zoo is read.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.config.config import load as load_config
from training import loop
from training.augmentation import Augmentation
from training.data import prepare
from training.models import DwsNetwork
from training.settings import Training
from training.tasks import Classify, TaskData, load
from zoo_gen import DwszooError, Fit, Recipe, open_zoo
from zoo_gen.make.fit import fit_networks
from zoo_gen.recipe.fit import Fitting
from zoo_gen.recipe.recipe import SPLITS

PUBLISHED = "85.71 ± .57 on MNIST (Navon et al. 2023)"
GOAL = 0.85


@dataclass(frozen=True)
class Row:
    """A line of the table: a model, and how it is trained."""

    name: str
    network: DwsNetwork
    training: Training


def rows(base: Training) -> list[Row]:
    """A DWSNet, the paper's layers in its place, and what helps: alone, then together."""
    plain = DwsNetwork(hidden_channels=32, layers=4)
    probes = replace(plain, probes=64)
    canonical = replace(base, prepare="canonical-sine")
    moved = Augmentation(rotation=10, translation=0.05, zoom=0.05, noise=0.02)
    moving = replace(base, augment=moved)
    return [
        Row("DWSNet: mean pooling, no norm", plain, base),
        Row(
            "max pooling, batch norm, as the paper", replace(plain, pool="max", norm="batch"), base
        ),
        Row("canonical signs and phases", plain, canonical),
        Row("moved inputs", plain, moving),
        Row("64 probes", probes, base),
        Row("64 probes, canonical", probes, canonical),
        Row("64 probes, moved", probes, moving),
        Row("64 probes, canonical, moved", probes, replace(canonical, augment=moved)),
    ]


def fitted(mnist: str, limit: int | None, fitting: Fitting) -> tuple[TaskData, str]:
    """A network of every image, on the GPU if there is one; and how they were made, in words.

    Those that diverged are left out.
    """
    config, _ = load_config("mnist", (f"source.path={mnist}",), limit)
    assert config.zoo is not None
    assert isinstance(config.zoo.fit, Fit)
    fit, source = config.zoo.fit, config.source
    signals = source.load().limited(config.limit)  # type: ignore[union-attr]
    recipe = Recipe.of(config.name, source, signals, config.zoo, config.limit)
    members = np.arange(recipe.members)
    seeds = [recipe.member_seed(int(m)) for m in members]
    targets = signals.targets(members)
    start = time.perf_counter()
    found = fit_networks(fit, seeds, signals.coordinates, targets, fitting=fitting)
    speed = recipe.members / (time.perf_counter() - start)
    good = ~found.diverged.numpy()
    split, label = recipe.assigned(signals)[good], signals.columns["label"][good]
    index = {name: torch.from_numpy(np.flatnonzero(split == name)) for name in SPLITS}
    classes = Classify().targets("these networks", {"label": label}, index)
    data = TaskData(
        space=fit.space,
        theta=found.theta[~found.diverged],
        member=torch.from_numpy(np.flatnonzero(good)),
        rows=index,
        left_out=int((~good).sum()),
        forward_pass=fit.forward_pass,
        task=Classify(),
        target=classes.values,
        classes=classes.classes,
    )
    made = f"fitted at {speed:,.0f} networks/s ({found.execution}"
    return data, f"{made}, median PSNR {found.psnr.median():.1f} dB)"


def main() -> None:
    """Fit, train, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    networks = parser.add_mutually_exclusive_group(required=True)
    networks.add_argument("--mnist", help="directory of the four IDX files")
    networks.add_argument("--zoo", type=Path, help="folder of a zoo of classes; nothing is fitted")
    parser.add_argument("--limit", type=int, help="use the first images only")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, nargs="+", help="which rows, from 1; all without")
    parser.add_argument("--fitting", default="auto", choices=["auto", "fused", "compiled", "eager"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.zoo and options.limit is not None:
        parser.error("--limit is of --mnist; a zoo is taken as it is")
    try:
        print_table(options)
    except DwszooError as error:
        parser.error(str(error))


def print_table(options: argparse.Namespace) -> None:
    """The table of what was asked for."""
    torch.set_float32_matmul_precision("high")

    started = time.perf_counter()
    if options.zoo:
        data, made = load(open_zoo(options.zoo)), f"of {options.zoo.name}"
    else:
        data, made = fitted(options.mnist, options.limit, options.fitting)
    ready = time.perf_counter() - started
    counts = " / ".join(f"{len(data.rows[name]):,}" for name in SPLITS)
    where = (
        torch.cuda.get_device_name()
        if options.device != "cpu"
        else platform.processor() or platform.machine()
    )
    print(
        f"{len(data.theta) + data.left_out:,} networks {made} ({counts}; {data.left_out} diverged) "
        f"in {ready:.1f} s; {options.device} {where}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {time.strftime('%Y-%m-%d')}\n"
    )
    base = Training(options.epochs, options.batch_size, options.learning_rate, 0.01)
    print(
        f"| {options.epochs} epochs | test accuracy, % | validation | parameters | s per model | "
        "85% after, s |"
    )
    print("|---|---|---|---|---|---|")
    for number, row in enumerate(rows(base), start=1):
        if options.rows is None or number in options.rows:
            print(line(row, data, options.seeds, options.device, ready), flush=True)
    print(f"\npublished for DWSNets: {PUBLISHED}; {time.perf_counter() - started:.0f} s in all")


def line(row: Row, data: TaskData, seeds: list[int], device: str, ready: float) -> str:
    """A row of the table: mean ± std over seeds."""
    test, validation, seconds, reached = [], [], [], []
    parameters = 0
    for seed in seeds:
        start, first = time.perf_counter(), [float("nan")]

        def on_epoch(epoch: int, record: dict[str, float], start=start, first=first) -> None:
            if record["val_accuracy"] >= GOAL and first[0] != first[0]:
                first[0] = ready + time.perf_counter() - start

        prepared = prepare(data, row.training.prepare)
        outcome = loop.train(row.network, prepared, row.training, seed, None, on_epoch, device)
        test.append(outcome.test["accuracy"])
        validation.append(outcome.validation["val_accuracy"])
        seconds.append(time.perf_counter() - start)
        reached.append(first[0])
        parameters = sum(p.numel() for p in outcome.model.parameters())
    accuracy = Classify().main
    known = [r for r in reached if r == r]
    after = f"{statistics.mean(known):.0f}" if len(known) == len(seeds) else "–"
    return (
        f"| {row.name} | {accuracy.text(test)} | {accuracy.text(validation)} | {parameters:,} | "
        f"{statistics.mean(seconds):.0f} | {after} |"
    )


if __name__ == "__main__":
    main()
