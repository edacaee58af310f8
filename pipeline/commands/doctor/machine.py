"""Checks of this machine: Python, torch, compiler, memory, disk, packages."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from pipeline.commands.doctor.check import Answer
from zoo_gen import StorageError, Store

GIB = 2**30
ROOM = 2 * GIB  # of a root, for zoos of a hundred thousand networks and their models
SHARED = 1 * GIB  # of /dev/shm, for the objects of a local Ray
FILES = 4096  # open at once: a Ray of many workers
LEFT_OUT = ("dev",)  # extras for those who change dwszoo itself
EXTRAS = {"meshes": "source: {kind: meshes}", "postgres": "an MLflow server on PostgreSQL"}


def python() -> list[Answer]:
    """The interpreter, and the packages that dwszoo declares as needed."""
    found = [Answer("ok", "Python", f"{platform.python_version()} ({sys.executable})")]
    try:
        needed = [Requirement(text) for text in requires("dwszoo") or []]
    except PackageNotFoundError:
        told = "dwszoo runs from a folder and is not installed: its packages were not checked"
        return [*found, Answer("warning", "packages", told, "pip install -e .")]
    plain = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    lacking = [need for need in plain if not _satisfied(need)]
    if lacking:
        told = f"not here, or too old: {', '.join(need.name for need in lacking)}"
        remedy = f"pip install {' '.join(repr(str(need)) for need in lacking)}"
        found.append(Answer("missing", "packages", told, remedy, needed=True))
    else:
        found.append(Answer("ok", "packages", f"all {len(plain)} that dwszoo needs"))
    extras = {name: [n for n in needed if _of(n, name)] for name in EXTRAS}
    for name, members in extras.items():
        lacking = [need for need in members if not _satisfied(need)]
        if lacking:
            told = f"needed for {EXTRAS[name]} alone"
            found.append(Answer("missing", name, told, f"pip install 'dwszoo[{name}]'"))
        elif members:
            found.append(Answer("ok", name, f"for {EXTRAS[name]}"))
    return found


def _of(need: Requirement, extra: str) -> bool:
    """Whether an extra, and nothing else, asks for it."""
    marker = need.marker
    return (
        marker is not None
        and not marker.evaluate({"extra": ""})
        and marker.evaluate({"extra": extra})
    )


def _satisfied(need: Requirement) -> bool:
    try:
        return need.specifier.contains(version(need.name), prereleases=True)
    except PackageNotFoundError:
        return False


def torch() -> list[Answer]:
    """torch: its build, what it uses of the processor, its threads; and the GPU."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    told = f"{torch.__version__}, {capability}, {threads} threads on {cpus} CPUs"
    found = [Answer("ok", "torch", told, needed=True)]
    if threads > (cpus or 1):
        found[0] = Answer("warning", "torch", told, f"export OMP_NUM_THREADS={cpus}")
    return [*found, _gpu()]


def _gpu() -> Answer:
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        told = f"{torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / GIB:.0f} GiB"
        if find_spec("triton") is None:
            note = f"{told}; fits need triton to be fast on it"
            return Answer("warning", "GPU", note, "pip install triton")
        return Answer("ok", "GPU", f"{told}: large zoos and training")
    if os.path.exists("/dev/nvidiactl"):
        told = f"there is one, but this torch ({torch.__version__}) cannot use it"
        return Answer("warning", "GPU", told, "install a CUDA build of torch: pytorch.org")
    return Answer("missing", "GPU", "none: everything runs on the CPU")


def compiler() -> list[Answer]:
    """The C compiler, by building the kernel with it (it is kept for later)."""
    from zoo_gen.make.fit.compiler import NoCompilerError, cache_folder, kernel

    try:
        kernel()
    except NoCompilerError as error:
        told = f"{error}: fits take about four times as long"
        return [Answer("missing", "C compiler", told, "apt-get install gcc, or set CC")]
    return [Answer("ok", "C compiler", f"compiled fits; built ones in {cache_folder()}")]


def memory() -> list[Answer]:
    """Memory, shared memory and the limit of open files."""
    from zoo_gen.zoo.memory import available

    found = []
    if (free := available()) is not None:
        found.append(Answer("ok", "memory", f"{free / GIB:.1f} GiB free for this process"))
    if os.path.isdir("/dev/shm"):
        free = shutil.disk_usage("/dev/shm").free
        told = f"{free / GIB:.1f} GiB free, for what Ray's workers share"
        remedy = "in a container: docker run --shm-size=4g ..."
        found.append(
            Answer("ok", "/dev/shm", told)
            if free >= SHARED
            else Answer("warning", "/dev/shm", f"{told}; with so little Ray is slow", remedy)
        )
    return [*found, _open_files()]


def _open_files() -> Answer:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        told = f"{soft} at most; a Ray of many workers needs {FILES}"
        return Answer("warning", "open files", told, "ulimit -n 65536")
    return Answer("ok", "open files", "no limit" if soft < 0 else f"{soft:,} at most")


def disk(store: Store) -> list[Answer]:
    """Room and permission below a local root, which is not made by this."""
    root = Path(store.root)
    there = next(place for place in (root, *root.parents) if place.exists())
    free = shutil.disk_usage(there).free
    remedy = "choose another --root"
    if root.exists():
        try:
            store.check_writable()
        except StorageError as error:
            return [Answer("missing", "root", str(error), remedy, needed=True)]
    elif not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        told = f"{root} cannot be made: {there} is a file or may not be written"
        return [Answer("missing", "root", told, remedy, needed=True)]
    told = f"{root}, {free / GIB:.1f} GiB free"
    if free < ROOM:
        return [Answer("warning", "root", told, f"make room, or {remedy}")]
    return [Answer("ok", "root", told)]


def plugins() -> list[Answer]:
    """Sources, tasks and models of other packages."""
    from pipeline.config.config import plugins as offered
    from zoo_gen.log import LOG

    LOG.disabled = True  # what it would say is said below
    try:
        known = offered()
    finally:
        LOG.disabled = False
    if not known:
        return [Answer("ok", "plug-ins", "no other package has sources, tasks or models")]
    return [
        Answer(
            "warning" if p.problem else "ok",
            "plug-in",
            f"{p}: {p.problem}" if p.problem else str(p),
            f"mend it, or pip uninstall {p.package.split()[0]}" if p.problem else "",
        )
        for p in known
    ]
