"""What generation adds to fitting at 10,000 networks: Ray, Parquet, the source, by a profile.

    python benchmarks/generation.py --mnist DIR [--networks 10000] [--steps 1000]

First in this process, where every part is timed by itself; then with Ray and two workers, by the
clock, against the time that the same fits took here, divided by two.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zoo_gen import Fit, Idx, LocalEngine, Recipe, Split, Store, Zoo
from zoo_gen.make.fit.choice import RUNS
from zoo_gen.make.generate import generate


@contextmanager
def timed(spent: Counter[str], name: str) -> Iterator[None]:
    """Add the seconds of the block."""
    start = time.perf_counter()
    yield
    spent[name] += time.perf_counter() - start


def measured(spent: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, its seconds added."""

    def run(*args: Any, **options: Any) -> Any:
        with timed(spent, name):
            return call(*args, **options)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", required=True, help="directory of the four IDX files")
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    spent: Counter[str] = Counter()
    with timed(spent, "source"):
        source = Idx(path=options.mnist)
        signals = source.load().limited(options.networks)
    fit = Fit((2, 32, 32, 1), init="paper", steps=options.steps)
    zoo = Zoo(fit, Split(8, 1, 1), rows_per_shard=256)
    recipe = Recipe.of("overhead", source, signals, zoo)
    print(f"{recipe.members:,} networks of {options.steps} steps in {recipe.shards} shards")
    plain = dict(RUNS)
    RUNS["compiled"] = measured(spent, "steps", plain["compiled"])
    with tempfile.TemporaryDirectory() as root, timed(spent, "all"):
        generate(Store(root), recipe, signals, LocalEngine(), fitting="compiled")
    RUNS.update(plain)
    whole = spent["all"] + spent["source"]
    rest = whole - spent["steps"]
    print(
        f"one process: {whole:.1f} s, the steps {spent['steps']:.1f} of it; all else "
        f"{rest:.1f} s ({rest / spent['steps']:.1%} more), the source {spent['source']:.1f}"
    )
    from zoo_gen.make.ray_engine import RayEngine, cluster

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as root, cluster(workers=options.workers):
        start = time.perf_counter()
        generate(Store(root), recipe, signals, RayEngine(), fitting="compiled")
        end = time.perf_counter()
    share = spent["steps"] / options.workers
    print(
        f"Ray, {options.workers} workers: {end - start:.1f} s and {start - begin:.1f} s to start "
        f"it; the steps alone, shared out: {share:.1f} s ({(end - start) / share - 1:+.1%})"
    )


if __name__ == "__main__":
    main()
