"""How fast are the equivariant layers? Forward and backward of a 5-layer, 32-channel DWSNet.

    python benchmarks/layers.py                              # ours against one product per term
    python benchmarks/layers.py --peer DWSNets --peer nfn    # and against checkouts of others
    python benchmarks/layers.py --peer ../dws-before         # and against an earlier commit

Every contestant has 5 equivariant layers, ReLUs between them and an invariant head to 10 numbers;
it sees the same random weights. Times are the best of interleaved rounds in one process; peak
memory is that of a process of its own, above what it held before the first step. The floor is what
reading and writing the features once per layer and direction would cost at this machine's copying
speed, arithmetic not counted.

Peers: an earlier commit of this repository (a `git worktree`); AvivNavon/DWSNets (needs nothing
else) and AllanYangZhou/nfn (needs einops and rff: the packages einops and
random-fourier-features-pytorch).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from layer_contestants import CASES, CHANNELS, LAYERS, Case, contestants
from torch import Tensor, nn


def step(model: nn.Module, theta: Tensor) -> None:
    """One forward and backward pass."""
    model.zero_grad()
    model(theta).float().square().mean().backward()
    if theta.is_cuda:
        torch.cuda.synchronize()


def seconds(
    model: nn.Module, theta: Tensor, least: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The quickest of the steps that fit into ``least`` seconds, two or more."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < least:
        start = clock()
        step(model, theta)
        times.append(clock() - start)
    return min(times)


def bandwidth(device: str) -> float:
    """Bytes read and written per second by a copy of 256 MB."""
    a = torch.ones(1 << 26, device=device)
    b, times = torch.empty_like(a), []
    for _ in range(8):
        start = time.perf_counter()
        b.copy_(a)
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * a.numel() * a.element_size() / min(times)


def peak_memory(arguments: argparse.Namespace, name: str, case: str, batch: int) -> float:
    """MB that a process of its own needs for two steps."""
    command = [sys.executable, __file__, "--memory-of", name, "--cases", case]
    command += ["--batches", str(batch), "--device", arguments.device]
    for peer in arguments.peer:
        command += ["--peer", peer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return float("nan")
    return float(json.loads(done.stdout.splitlines()[-1]))


def resident(field: str) -> float:
    """MB that this process holds (VmRSS) or held at most (VmHWM); Linux only."""
    status = Path("/proc/self/status").read_text()
    return float(status.split(f"{field}:")[1].split()[0]) / 1024


def tell_memory(arguments: argparse.Namespace) -> None:
    """The process that :func:`peak_memory` starts."""
    torch.set_num_threads(1)
    case, batch = CASES[arguments.cases[0]](), arguments.batches[0]
    model = contestants(arguments.peer, arguments.device)[arguments.memory_of](case)
    assert model is not None
    model.to(arguments.device)
    theta = torch.randn(batch, case.space.size, device=arguments.device)
    step(model, theta[:2])
    if arguments.device == "cpu":
        before = resident("VmRSS")
        for _ in range(2):
            step(model, theta)
        peak = resident("VmHWM") - before
    else:
        torch.cuda.reset_peak_memory_stats()
        step(model, theta)
        peak = torch.cuda.max_memory_allocated() / 1e6
    print(json.dumps(peak))


def compare(arguments: argparse.Namespace, case: Case, batch: int, threads: int) -> None:
    """One table: every contestant on one kind of input."""
    device = arguments.device
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    theta = torch.randn(batch, case.space.size, device=device)
    models = {}
    for name, build in contestants(arguments.peer, device).items():
        wanted = not arguments.only or name in ["ours", *arguments.only]
        if wanted and (model := build(case)) is not None:
            models[name] = model.to(device)
            step(models[name], theta)
    best = dict.fromkeys(models, float("inf"))
    for _ in range(arguments.rounds):
        for name, model in models.items():
            clock = time.process_time if arguments.processor_time else time.perf_counter
            best[name] = min(best[name], seconds(model, theta, arguments.least, clock))
    bytes_moved = 4 * LAYERS * batch * case.inner.size * CHANNELS * 4
    floor = bytes_moved / bandwidth(device)
    print(
        f"\n{case.name}, batch {batch}, {threads} thread(s); floor {batch / floor:,.0f} networks/s"
    )
    print(f"{'':24}{'networks/s':>12}{'ours is':>10}{'peak MB':>10}")
    for name in models:
        measured = arguments.memory and threads == arguments.threads[0]
        peak = peak_memory(arguments, name, case.name, batch) if measured else float("nan")
        ratio = best[name] / best["ours"]
        print(f"{name:24}{batch / best[name]:12,.0f}{ratio:9.2f}x{peak:10,.0f}", flush=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--peer", action="append", default=[], help="checkout of a peer; repeatable"
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 512])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", help="these contestants, ours is always there")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=1.0, help="seconds per model and round")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="of this process instead of the time that passed: ratios on a machine that is shared",
    )
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.peer = [str(Path(peer).resolve()) for peer in arguments.peer]
    if arguments.memory_of:
        tell_memory(arguments)
        return
    where = platform.processor() or platform.machine()
    if arguments.device != "cpu":
        where = torch.cuda.get_device_name()
    print(f"{LAYERS} layers, {CHANNELS} channels; torch {torch.__version__}, {where}")
    for case in arguments.cases:
        for batch in arguments.batches:
            for threads in arguments.threads if arguments.device == "cpu" else [1]:
                compare(arguments, CASES[case](), batch, threads)


if __name__ == "__main__":
    main()
