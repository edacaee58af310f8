"""What ten million networks cost, from what is measured here: the tables of docs/ten-million.md.

    python benchmarks/ten_million.py [--networks 10000000] [--ray-ms 8] [--rate 25] [--bytes 4414]

Measured in this process unless noted: networks of the paper's MNIST recipe (2-32-32-1, 784 points,
1,000 steps of Adam) per second of processor time, so that other work on the machine counts little;
and the bytes of a shard per network. ``--ray-ms`` is what the driver spends on a shard
(``benchmarks/scale.py --only shards``). All else is arithmetic; prices are those below.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass

import torch

from zoo_gen import Fit, Recipe, Shapes, Split, Store, Zoo
from zoo_gen.make.generate import fit_shard
from zoo_gen.make.job import ShardJob
from zoo_gen.zoo.layout import describe, shard_name

FIT = Fit((2, 32, 32, 1), init="paper", steps=1000)
ROWS = (256, 1024)  # networks of a shard: of the config `mnist`, and for a zoo of this size
MACHINES = (8, 64)  # the most that cluster.yaml starts, and eight times as many
CPUS = 16  # of one of them
LISTED = 1000  # names in one answer of S3

# US dollars, us-east-1 (us-west-2 has the same). Machines: on-demand prices per hour of Linux, as
# five public price tables quote them in 2026. S3: its price list of 2026-09-28.
PER_HOUR = {"c7i.4xlarge": 0.714, "m7i.large": 0.1008}
PER_PUT_OR_LIST, PER_GET, PER_GB_MONTH = 0.005 / 1000, 0.0004 / 1000, 0.023


@dataclass(frozen=True)
class Measured:
    """What the arithmetic begins with.

    Attributes:
        rate: networks per second of processor time.
        size: bytes of a network in a shard.
        ray: seconds that the driver spends on a shard.
    """

    rate: float
    size: float
    ray: float


def measure(rows: int, rounds: int) -> tuple[float, float]:
    """Networks per second of processor time, the best of some shards; bytes per network."""
    source = Shapes(count=64, size=28)
    signals = source.load()
    zoo = Zoo(FIT, Split(8, 1, 1), views=1000, rows_per_shard=rows)
    recipe = Recipe.of("rate", source, signals, zoo)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        job = ShardJob(store, recipe, signals, describe(store, recipe, recipe.space(signals)))
        rates = []
        for shard in range(rounds + 1):  # the first one builds the kernel
            start = time.process_time()
            fit_shard(job, shard)
            rates.append(rows / (time.process_time() - start))
        data = store.read(f"{recipe.folder}/shards/{shard_name(0)}")
    return max(rates[1:]), len(data) / rows


def fitting(networks: int, m: Measured) -> None:
    """Time and money of machines."""
    cores = networks / m.rate / 3600
    print(f"\nfitting: {cores:,.0f} core-hours\n")
    print("| machines | hours | machines cost | head | networks/s | shards/s (256 rows; 1,024) |")
    print("|---|---|---|---|---|---|")
    for count in MACHINES:
        hours = cores / (count * CPUS)
        rate = count * CPUS * m.rate
        cost = hours * count * PER_HOUR["c7i.4xlarge"]
        head = hours * PER_HOUR["m7i.large"]
        each = "; ".join(f"{rate / rows:.1f}" for rows in ROWS)
        print(
            f"| {count} c7i.4xlarge, {count * CPUS:,} vCPUs | {hours:.2f} | ${cost:.2f} "
            f"| ${head:.2f} | {rate:,.0f} | {each} |"
        )


def storing(networks: int, m: Measured) -> None:
    """Objects, requests, and their money."""
    size = networks * m.size / 1e9
    print(f"\nstorage: {size:.1f} GB, ${size * PER_GB_MONTH:.2f} a month\n")
    print("| rows per shard | shards | MB each | PUT | LIST per command | GET per reading |")
    print("|---|---|---|---|---|---|")
    for rows in ROWS:
        shards = -(-networks // rows)
        lists = -(-shards // LISTED)
        print(
            f"| {rows:,} | {shards:,} | {rows * m.size / 1e6:.1f} "
            f"| {shards:,}: ${shards * PER_PUT_OR_LIST:.2f} | {lists}: "
            f"${lists * PER_PUT_OR_LIST:.4f} | {shards:,}: ${shards * PER_GET:.3f} |"
        )


def limits(m: Measured) -> None:
    """How many processors one driver keeps busy."""
    print("\none driver keeps busy, at most\n")
    print("| rows per shard | seconds of fitting each | shards/s of the driver | vCPUs |")
    print("|---|---|---|---|")
    for rows in ROWS:
        seconds = rows / m.rate
        print(f"| {rows:,} | {seconds:.0f} | {1 / m.ray:.0f} | {seconds / m.ray:,.0f} |")


def main() -> None:
    """Measure what is not given, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=10_000_000)
    parser.add_argument("--rate", type=float, help="networks per second of one core")
    parser.add_argument("--bytes", type=float, help="of a network in a shard")
    parser.add_argument("--ray-ms", type=float, default=8.0, help="of the driver, for a shard")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rate, size = options.rate, options.bytes
    if rate is None or size is None:
        found = measure(rows=128, rounds=3)
        rate, size = rate or found[0], size or found[1]
    m = Measured(rate, size, options.ray_ms / 1000)
    print(
        f"{options.networks:,} networks; {rate:.1f} networks/s of one core, {size:.0f} bytes each, "
        f"{options.ray_ms:.1f} ms of the driver for a shard; torch {torch.__version__}"
    )
    fitting(options.networks, m)
    storing(options.networks, m)
    limits(m)


if __name__ == "__main__":
    main()
