"""The paper's MNIST experiment in one process: fit every network, train DWSNets, tell what helps.

    python benchmarks/reproduce.py --mnist DIR           all 70,000 images, on a GPU if there is one
    python benchmarks/reproduce.py --mnist DIR --limit 500 --epochs 2 --seeds 0     minutes on a CPU

Needs neither Ray nor MLflow. Networks are those of the config ``mnist`` (the paper's recipe, one
view, random initialisation, its split), from the same seeds. Each row of the table adds one thing
to the row before; all rows share optimiser, epochs and batch size, nothing is tuned here. The best
validation epoch is kept, and the test split is evaluated once per model. The clock of "85% after"
starts before the first network is fitted.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.config import load
from training import loop
from training.augmentation import Augmentation
from training.data import WeightData, prepare
from training.loop import Training
from training.models import DwsNetwork
from training.tasks import Classify
from zoo_gen import Fit, Recipe, Signals
from zoo_gen.fit import Fitted, fit_networks
from zoo_gen.fit_settings import Fitting
from zoo_gen.recipe import SPLITS

PUBLISHED = "85.71 ± .57 (Navon et al. 2023)"
GOAL = 0.85


@dataclass(frozen=True)
class Row:
    """A line of the table: a model, and how it is trained."""

    name: str
    network: DwsNetwork
    training: Training


def rows(epochs: int, batch_size: int) -> list[Row]:
    """The paper's setting, then one addition after the other."""
    base = Training(epochs=epochs, batch_size=batch_size, learning_rate=5e-3, weight_decay=5e-4)
    paper = DwsNetwork(hidden_channels=32, layers=5, pool="max", norm="batch")
    ours = replace(paper, pool="mean", residual=True)
    canonical = replace(base, prepare="canonical-sine")
    moved = Augmentation(rotation=10, translation=0.05, zoom=0.05, noise=0.02, weight_dropout=0.05)
    augmented = replace(canonical, augment=moved)
    return [
        Row("as the paper: max pooling, batch norm, 5 layers", paper, base),
        Row("mean pooling, residual", ours, base),
        Row("+ canonical signs and phases", ours, canonical),
        Row("+ augmentation", ours, augmented),
        Row("+ 64 probes", replace(ours, probes=64), augmented),
    ]


def fitted(recipe: Recipe, fit: Fit, signals: Signals, fitting: Fitting) -> Fitted:
    """A network of every member, in their order: on the GPU if there is one."""
    members = np.arange(recipe.members)
    seeds = [recipe.member_seed(int(m)) for m in members]
    targets = signals.targets(members)
    return fit_networks(fit, seeds, signals.coordinates, targets, fitting=fitting)


def data_of(recipe: Recipe, fit: Fit, signals: Signals, found: Fitted) -> WeightData:
    """The networks as training takes them; those that diverged are left out."""
    good = ~found.diverged.numpy()
    split, label = recipe.assigned(signals)[good], signals.columns["label"][good]
    index = {name: torch.from_numpy(np.flatnonzero(split == name)) for name in SPLITS}
    targets = Classify().targets("these networks", {"label": label}, index)
    return WeightData(
        fit.space,
        found.theta[~found.diverged],
        targets.values,
        torch.from_numpy(np.flatnonzero(good)),
        index,
        targets.classes,
        int((~good).sum()),
        fit.w0,
        fit.activation,
    )


def main() -> None:
    """Fit, train, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", required=True, help="directory of the four IDX files")
    parser.add_argument("--limit", type=int, help="use the first images only")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, nargs="+", help="which rows, from 1; all without")
    parser.add_argument("--fitting", default="auto", choices=["auto", "fused", "compiled", "eager"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")

    started = time.perf_counter()
    config, _ = load("mnist", (f"source.path={options.mnist}",), options.limit)
    assert config.zoo is not None
    assert isinstance(config.zoo.fit, Fit)
    signals = config.source.load().limited(config.limit)  # type: ignore[union-attr]
    recipe = Recipe.of(config.name, config.source, signals, config.zoo, config.limit)
    found = fitted(recipe, config.zoo.fit, signals, options.fitting)
    data = data_of(recipe, config.zoo.fit, signals, found)
    ready = time.perf_counter() - started
    counts = " / ".join(f"{len(data.rows[name]):,}" for name in SPLITS)
    where = torch.cuda.get_device_name() if options.device != "cpu" else platform.processor()
    print(
        f"{recipe.members:,} networks ({counts}; {data.left_out} diverged) in {ready:.1f} s, "
        f"{recipe.members / ready:,.0f} networks/s ({found.execution}, median PSNR "
        f"{found.psnr.median():.1f} dB); {options.device} {where}, "
        f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}\n"
    )
    print(
        f"| {options.epochs} epochs | test accuracy, % | validation | parameters | s per model | "
        "85% after, s |"
    )
    print("|---|---|---|---|---|---|")
    for number, row in enumerate(rows(options.epochs, options.batch_size), start=1):
        if options.rows is None or number in options.rows:
            print(line(row, data, options.seeds, options.device, ready), flush=True)
    print(f"\npublished for DWSNets: {PUBLISHED}; {time.perf_counter() - started:.0f} s in all")


def line(row: Row, data: WeightData, seeds: list[int], device: str, ready: float) -> str:
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
