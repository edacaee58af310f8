"""Networks per second from a zoo into batches, against a file per network; and memory.

    python benchmarks/loading.py [--networks 10000] [--device cuda] [--only loading import memory]

*loading*: every way brings the same networks as batches of 512 onto the device and adds them up.
``.pth`` is a ``Dataset`` with one ``torch.load(weights_only=True)`` for each network behind a
``DataLoader``, as the field reads its zoos; ``pyarrow`` reads the zoo's folder at once, verifying
nothing. A cold pass begins after the file's pages were dropped from the page cache (names and
sizes of files stay known to the kernel), which ``mincore`` confirms. Ways take turns in each round.

*import*: ``dwszoo import folder`` of these files against ``torch.load`` of each and nothing else.

*memory*: a process that may allocate no more than a stated budget reads a zoo of several times
that size in batches; the same process with all weights at once is refused.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo_gen import Fit, Split, Store, ZooReader, open_zoo
from zoo_gen.exchange.export import export_zoo
from zoo_gen.exchange.imports import Import, Listing, open_source
from zoo_gen.exchange.imports.layers import Layout, layout_of
from zoo_gen.make.fit import init
from zoo_gen.zoo.memory import bytes_of_batches
from zoo_gen.zoo.shards import Columns
from zoo_gen.zoo.zoo import Network

BATCH = 512
FIT = Fit((2, 32, 32, 1), init="paper")
SPLIT = Split(8, 1, 1)
PAGE = mmap.PAGESIZE
Batches = Iterator[Tensor]


@dataclass
class Drawn:
    """A source of networks with fresh weights, as if they lay somewhere."""

    listing: Listing
    where = Path()
    format = "folder"
    network = Network()
    skipped = 0

    @property
    def layout(self) -> Layout:
        """2-32-32-1."""
        pairs = [
            ("0.weight", (32, 2)),
            ("0.bias", (32,)),
            ("2.weight", (32, 32)),
            ("2.bias", (32,)),
        ]
        return layout_of([*pairs, ("4.weight", (1, 32)), ("4.bias", (1,))])

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, Columns]:
        """The initial weights of the paper's networks."""
        return init(FIT, rows.tolist()).numpy(), {}


def zoo_of(networks: int, root: Path) -> ZooReader:
    """A zoo of drawn networks with ten classes."""
    signal = np.arange(networks)
    listing = Listing(signal, np.full(networks, ""), str(networks), {"label": signal % 10})
    job = Import(Store(str(root)), "drawn", Drawn(listing), SPLIT)
    job.run()
    return open_zoo(root / job.folder)


class Files(Dataset):
    """A network per file, flat."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(map(str, folder.glob("*.pth")))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> Tensor:
        state = torch.load(self.files[item], weights_only=True)
        return torch.cat([x.flatten() for x in state.values()])


def pth(folder: Path, workers: int, shuffled: bool) -> Batches:
    """As the field reads its zoos."""
    yield from DataLoader(Files(folder), BATCH, shuffle=shuffled, num_workers=workers)


def pyarrow(zoo: str, shuffled: bool) -> Batches:
    """The column of weights at once, then slices or picks of it."""
    import pyarrow.parquet as pq

    column = pq.read_table(f"{zoo}/shards", columns=["theta"])["theta"].combine_chunks()
    # a tensor without a copy: nothing here writes to it
    theta = torch.frombuffer(memoryview(column.flatten().buffers()[1]), dtype=torch.float32)
    theta = theta.view(len(column), -1)
    yield from cut(theta, shuffled)


def ours(zoo: str, shuffled: bool) -> Batches:
    """In order from `ZooReader.batches`; shuffled as training does it, from memory."""
    if shuffled:
        yield from cut(open_zoo(zoo).theta(), True)
    else:
        yield from (rows.theta for rows in open_zoo(zoo).batches(BATCH))


def cut(theta: Tensor, shuffled: bool) -> Batches:
    """Batches of weights in memory."""
    if not shuffled:
        yield from theta.split(BATCH)
        return
    for rows in torch.randperm(len(theta)).split(BATCH):
        yield theta[rows]


def seconds(batches: Batches, networks: int, device: str) -> float:
    """Of one pass onto the device, every number looked at."""
    start = time.perf_counter()
    total, seen = torch.zeros((), device=device), 0
    for batch in batches:
        total += batch.to(device).sum()
        seen += len(batch)
    total.item()  # waits for the device
    assert seen == networks
    return time.perf_counter() - start


def drop(folder: Path) -> None:
    """Drop the files' pages from the page cache, or end the benchmark."""
    os.sync()
    libc = ctypes.CDLL(None, use_errno=True)
    left = 0
    for file in folder.rglob("*"):
        size = file.stat().st_size if file.is_file() else 0
        if not size:
            continue
        with open(file, "rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY) as view:
                held = (ctypes.c_ubyte * -(-size // PAGE))()
                start = ctypes.c_char.from_buffer(view)
                if libc.mincore(ctypes.byref(start), ctypes.c_size_t(size), held):
                    raise SystemExit(f"mincore: {os.strerror(ctypes.get_errno())}")
                del start
                left += sum(page & 1 for page in held)
    if left:
        raise SystemExit(f"{folder}: {left} pages stayed in the page cache; use another disk")


def loading(zoo: ZooReader, files: Path, device: str, rounds: int) -> None:
    """Print networks per second of every way, and how many times as fast the zoo is."""
    ways: dict[str, Callable[[bool], Batches]] = {
        "zoo": lambda shuffled: ours(zoo.url, shuffled),
        "pyarrow, unverified": lambda shuffled: pyarrow(zoo.url, shuffled),
        ".pth, no workers": lambda shuffled: pth(files, 0, shuffled),
        ".pth, 2 workers": lambda shuffled: pth(files, 2, shuffled),
    }
    passes = {"cold, ordered": False, "warm, ordered": False, "warm, shuffled": True}
    rates: dict[tuple[str, str], list[float]] = {}
    for make in ways.values():  # once, so that libraries are loaded
        seconds(make(False), len(zoo), device)
    for _ in range(rounds):
        for kind, shuffled in passes.items():
            for name, make in ways.items():
                if kind.startswith("cold"):
                    drop(files if "pth" in name else zoo.store.local(zoo.folder))
                taken = seconds(make(shuffled), len(zoo), device)
                rates.setdefault((kind, name), []).append(len(zoo) / taken)
    print(f"\n{'pass':<16}{'way':<22}{'networks/s':>12}   zoo is faster by (min to max)")
    for (kind, name), found in rates.items():
        ratios = [a / b for a, b in zip(rates[kind, "zoo"], found, strict=True)]
        spread = f"{statistics.median(ratios):8.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"{kind:<16}{name:<22}{statistics.median(found):>12,.0f}   {spread}")


def importing(files: Path, networks: int, rounds: int) -> None:
    """Print how much longer an import takes than reading the files."""
    ratios, paths = [], Files(files).files
    for _ in range(rounds):
        start = time.perf_counter()
        for path in paths:
            torch.load(path, weights_only=True)
        middle = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=files.parent) as root:
            Import(Store(root), "files", open_source("folder", files), SPLIT).run()
        end = time.perf_counter()
        ratios.append((end - middle) / (middle - start))
    print(
        f"\nimport of {networks:,} .pth files: {networks / (end - middle):,.0f} networks/s, "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as long "
        "as torch.load of each"
    )


def memory(zoo: ZooReader) -> None:
    """Print whether passes over a zoo fit into a budget."""
    budget = bytes_of_batches(zoo, BATCH)
    weights = 4 * len(zoo) * zoo.space.size
    print(
        f"\na zoo of {weights / 1e6:,.0f} MB of weights, budget of batches({BATCH}) "
        f"{budget / 1e6:,.0f} MB; processes that may allocate that much:"
    )
    for way in ("batches", "all at once"):
        command = [sys.executable, __file__, "--limited", zoo.url, str(budget), way]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).strip().splitlines()
        print(f"  {way:<12} exit status {done.returncode}: {lines[-1]}")


def limited(url: str, budget: int, way: str) -> None:
    """The process that `memory` starts."""
    torch.set_num_threads(1)
    zoo = open_zoo(url)
    next(iter(zoo.batches(1)))  # libraries and threads are there before the limit is set
    held = int(status("VmData") * 1024)
    resource.setrlimit(resource.RLIMIT_DATA, (held + budget, held + budget))
    if way == "batches":
        total = sum(float(rows.theta.sum()) for rows in zoo.batches(BATCH))
    else:
        total = float(zoo.theta().sum())
    print(f"sum {total:.3f}, resident at most {status('VmHWM') / 1024:,.0f} MB")


def status(field: str) -> int:
    """A figure of this process in KiB."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])


def main() -> None:
    """Parse, make the networks, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=100_000, help="networks for memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="on the disk that is to be measured (default: temporary)")
    choices = ["loading", "import", "memory"]
    parser.add_argument("--only", nargs="+", default=choices, choices=choices)
    parser.add_argument("--limited", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.limited:
        url, budget, way = options.limited
        limited(url, int(budget), way)
        return
    torch.set_num_threads(1)
    where = platform.processor() or platform.machine()
    if options.device != "cpu":
        where = torch.cuda.get_device_name()
    print(f"2-32-32-1, {options.networks:,} networks; torch {torch.__version__}, {where}")
    with tempfile.TemporaryDirectory(dir=options.dir) as place:
        zoo = zoo_of(options.networks, Path(place) / "root")
        files = Path(place) / "files"
        if {"loading", "import"} & set(options.only):
            export_zoo(zoo, files, "pth")
        if "loading" in options.only:
            loading(zoo, files, options.device, options.rounds)
        if "import" in options.only:
            importing(files, options.networks, options.rounds)
        if "memory" in options.only:
            memory(zoo_of(options.large, Path(place) / "root"))


if __name__ == "__main__":
    main()
