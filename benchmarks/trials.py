"""Train again what was tried before a config got its settings, and judge it as then.

    python benchmarks/trials.py mnist dwszoo-data/zoos/mnist-1a36094f
    python benchmarks/trials.py adapt-cifar10 ZOO --set source.path=DIR --model dwsnet

``benchmarks/results/tasks/trials.csv`` has a row for each trial: its model with all settings, the
number of training networks and the validation score of its best epoch. Trials see training and
validation networks alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import torch

from pipeline.config.config import load as load_config
from training.data import prepare
from training.loop import train
from training.tasks import load
from zoo_gen import DwszooError, open_zoo

TRIALS = Path(__file__).parent / "results" / "tasks" / "trials.csv"


def main() -> None:
    """Train each row of a config; print what it reached then and now."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", help="whose trials: the first column")
    parser.add_argument("zoo", help="folder of the networks")
    parser.add_argument("--trials", type=Path, default=TRIALS)
    parser.add_argument("--model", help="those of one model alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    options = parser.parse_args()
    with options.trials.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["config"] == options.config]
    if options.model:
        rows = [row for row in rows if row["model"] == options.model]
    if not rows:
        parser.error(f"{options.trials} has no trial of {options.config} {options.model or ''}")
    print(
        f"{options.zoo}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{time.strftime('%Y-%m-%d')}\n"
    )
    print("| model | network | training | networks | seed | metric | then | now | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    try:
        print_rows(rows, options)
    except DwszooError as error:
        parser.error(str(error))


def print_rows(rows: list[dict[str, str]], options: argparse.Namespace) -> None:
    """A line for each of these trials, as it ends."""
    for row in rows:
        start = time.perf_counter()
        words = [row[key] for key in ("model", "network", "training", "networks", "seed", "metric")]
        words += [row["validation"], f"{validation(row, options.zoo, options.changes):.5f}"]
        print(f"| {' | '.join(words)} | {time.perf_counter() - start:.0f} |", flush=True)


def validation(row: dict[str, str], zoo: str, changes: list[str]) -> float:
    """The validation score of one trial."""
    name = f"models.{row['model']}"
    settings = [f"{name}.{part}={row[part]}" for part in ("network", "training")]
    config, _ = load_config(row["config"], (*changes, *settings))
    model, task = config.models[row["model"]], config.task_or_default
    data = load(open_zoo(zoo), task, config.source if task.takes_signals else None)
    data = prepare(data.only(int(row["networks"])), model.training.prepare)
    outcome = train(model.network, data, model.training, int(row["seed"]), last="val")
    return float(outcome.validation[row["metric"]])


if __name__ == "__main__":
    main()
