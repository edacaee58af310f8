"""What a zoo costs beside its fitting, from a thousand networks to ten million.

    python benchmarks/scale.py [--most 1000000] [--only members signals plan shards workers]

*members*: zoos of 2-4-1 networks with one step of Adam, so that fitting weighs nothing, on a local
Ray of two workers, each in a process of its own: seconds, and microseconds per network; of the
driver the processor time per shard, which other work on the machine does not change much, and the
most memory that it held (Ray's start is counted in the memory alone).

*signals*: the same, a signal for each network instead of a thousand signals with many views.

*plan*: the time until it is known which shards are missing where all but one are there, on disk and
on an S3 endpoint (moto, on loopback).

*shards*: what Ray adds to each shard: shards of one network on one Ray worker, minus the same
shards in this process. With ``--shards 19532`` the driver of ten million networks, whose work
depends on the number of shards alone.

*workers*: networks of the digits config (2-16-16-1, 300 steps) on one and on two Ray workers, in
turns; efficiency is the rate of two by twice the rate of one.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from zoo_gen import Digits, Fit, LocalEngine, Recipe, Signals, Sine, Split, Store, Zoo
from zoo_gen.make.generate import Engine, ShardDone, generate
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.zoo.layout import shard_name

TINY = Fit((2, 4, 1), steps=1)
TINY_SINE = replace(TINY, widths=(1, 4, 1))
REAL = Fit((2, 16, 16, 1), init="paper", steps=300)
SPLIT = Split(8, 1, 1)
SIGNALS = 1000
ROWS = 512  # networks of a shard


def of_views(members: int) -> tuple[Recipe, Signals]:
    """A thousand digits, so many networks each."""
    signals = Digits().load().limited(min(SIGNALS, members))
    zoo = Zoo(TINY, SPLIT, views=max(1, members // SIGNALS), rows_per_shard=ROWS)
    return Recipe.of("scale", Digits(), signals, zoo), signals


def of_signals(members: int) -> tuple[Recipe, Signals]:
    """As many sines of 64 points, a network each."""
    source = Sine(points=64, count=members)
    signals = source.load()
    return Recipe.of("scale", source, signals, Zoo(TINY_SINE, SPLIT, rows_per_shard=ROWS)), signals


def of_shards(shards: int) -> tuple[Recipe, Signals]:
    """As many shards, a network each."""
    signals = Digits().load().limited(SIGNALS)
    zoo = Zoo(TINY, SPLIT, views=-(-shards // SIGNALS), rows_per_shard=1)
    return Recipe.of("scale", Digits(), signals, zoo), signals


KINDS = {"members": of_views, "signals": of_signals, "shards": of_shards}


class First:
    """An engine that does the first shards alone.

    Args:
        engine: who fits them.
        shards: how many.
    """

    def __init__(self, engine: Engine, shards: int) -> None:
        self.engine, self.shards, self.seconds = engine, shards, 0.0

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        """Fit, and measure."""
        start = time.perf_counter()
        yield from self.engine.fit(job, missing[: self.shards], progress)
        self.seconds = time.perf_counter() - start


def memory(field: str) -> float:
    """Of this process, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1000


def run(kind: str, count: int, workers: int) -> None:
    """One generation in this process: prints its seconds and the driver's memory at most."""
    from zoo_gen.make.ray_engine import RayEngine, cluster

    with tempfile.TemporaryDirectory() as folder, cluster(None, workers):
        recipe, signals = KINDS[kind](count)
        warm = Store(f"{folder}/warm")
        generate(warm, *of_shards(2), First(RayEngine(), 2))  # workers have started
        store, engine = Store(f"{folder}/root"), First(RayEngine(), recipe.shards)
        before = time.process_time()
        generate(store, recipe, signals, engine)
        busy = time.process_time() - before
        assert len(store.names(f"{recipe.folder}/shards")) == recipe.shards
        print(engine.seconds, busy, memory("VmHWM"), recipe.shards, recipe.members)


def started(kind: str, count: int, workers: int) -> tuple[float, float, float, int, int]:
    """`run` in a process of its own: seconds, of the driver's processor, MB, shards, networks."""
    command = [sys.executable, __file__, "--run", kind, str(count), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, busy, held, shards, members = done.stdout.split()
    return float(seconds), float(busy), float(held), int(shards), int(members)


def sizes(most: int) -> Iterator[int]:
    """A thousand, ten thousand, ... up to the limit."""
    count = 1000
    while count <= most:
        yield count
        count *= 10


def table(kind: str, most: int) -> None:
    """Print a line for each size."""
    print(
        f"\n{kind:>10}{'shards':>8}{'seconds':>9}{'us each':>9}{'driver ms':>11}{'driver MB':>11}"
    )
    for count in sizes(most):
        seconds, busy, held, shards, members = started(kind, count, 2)
        each, driver = 1e6 * seconds / members, 1e3 * busy / shards
        line = f"{members:>10,}{shards:>8,}{seconds:>9.1f}{each:>9.0f}{driver:>11.1f}{held:>11.0f}"
        print(line, flush=True)


@contextmanager
def endpoint() -> Iterator[str]:
    """A bucket of an S3 endpoint on loopback."""
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket="zoo")
        yield "s3://zoo/root"
    finally:
        server.kill()
        server.wait()


def plan(most: int, root: str) -> None:
    """Print how long it takes to find the one shard that is missing."""
    print(f"\nplanning, {root.split(':')[0] if '://' in root else 'local disk'}")
    print(f"{'networks':>12}{'shards':>8}{'seconds':>9}")
    for count in sizes(most):
        recipe, signals = of_views(count)
        store = Store(f"{root}/{count}")
        for i in range(recipe.shards - 1):  # what is in a shard is not looked at
            store.publish(f"{recipe.folder}/shards/{shard_name(i)}", b"there")
        generate(store, recipe, signals, First(LocalEngine(), 0))  # writes zoo.json, connects
        start = time.perf_counter()
        generate(store, recipe, signals, First(LocalEngine(), 0))
        print(f"{count:>12,}{recipe.shards:>8,}{time.perf_counter() - start:>9.2f}", flush=True)


def overhead(shards: int) -> None:
    """Print what Ray adds to a shard, and the driver's memory."""
    seconds, busy, held, count, _ = started("shards", shards, 1)
    local = First(LocalEngine(), min(count, 2000))
    with tempfile.TemporaryDirectory() as folder:
        generate(Store(folder), *of_shards(2), First(LocalEngine(), 2))
        generate(Store(f"{folder}/root"), *of_shards(shards), local)
    alone = local.seconds / local.shards
    print(
        f"\n{count:,} shards of one network: {1e3 * seconds / count:.1f} ms each on one Ray worker"
        f", {1e3 * alone:.1f} ms in this process; Ray adds {1e3 * (seconds / count - alone):.1f} ms"
        f"; the driver is busy for {1e3 * busy / count:.1f} ms of each and held {held:.0f} MB"
    )


def workers(shards: int, rounds: int) -> None:
    """Print the efficiency of two workers."""
    from zoo_gen.make.ray_engine import RayEngine, cluster

    signals = Digits().load().limited(SIGNALS)
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, cluster(None, 2):
        for number in range(rounds + 1):
            for count, found in rates.items():
                # another seed is another zoo
                zoo = Zoo(REAL, SPLIT, seed=number, rows_per_shard=125)
                recipe = Recipe.of(f"by-{count}", Digits(), signals, zoo)
                engine = First(RayEngine(count), shards)
                generate(Store(folder), recipe, signals, engine)
                if number:  # the first round starts workers
                    found.append(125 * shards / engine.seconds)
    ratios = [two / one / 2 for one, two in zip(*rates.values(), strict=True)]
    one, two = (statistics.median(found) for found in rates.values())
    spread = f"{min(ratios):.0%} to {max(ratios):.0%} of {rounds} rounds"
    print(
        f"\n1 worker {one:.0f} networks/s, 2 workers {two:.0f}: "
        f"efficiency {statistics.median(ratios):.0%} ({spread})"
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--most", type=int, default=1_000_000, help="networks")
    parser.add_argument("--shards", type=int, default=1000, help="for the part shards")
    parser.add_argument("--rounds", type=int, default=3, help="of the part workers")
    choices = ["members", "signals", "plan", "shards", "workers"]
    parser.add_argument("--only", nargs="+", default=choices, choices=choices)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.run:
        kind, count, number = options.run
        run(kind, int(count), int(number))
        return
    print(f"torch {torch.__version__}, {os.cpu_count()} CPUs, {ROWS} networks per shard")
    for kind in ("members", "signals"):
        if kind in options.only:
            table(kind, options.most)
    if "plan" in options.only:
        with tempfile.TemporaryDirectory() as folder:
            plan(10 * options.most, folder)
        with endpoint() as root:
            plan(options.most, root)
    if "shards" in options.only:
        overhead(options.shards)
    if "workers" in options.only:
        workers(8, options.rounds)


if __name__ == "__main__":
    main()
