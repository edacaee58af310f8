"""`dwszoo doctor`: check the environment and say how to fix it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pipeline.commands.options import debug_option, root_option

if TYPE_CHECKING:
    from zoo_gen import Store

GIB = 2**30
ROOM = 2 * GIB  # of a root, for zoos of a hundred thousand networks and their models
SHARED = 1 * GIB  # of /dev/shm, for the objects of a local Ray
SECONDS = 120.0  # until a check is given up
COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}
STATUS, WHAT = 9, 12  # widths of columns
# in a process of its own, which can be killed
RAY = """
import sys
from zoo_gen.errors import DwszooError
from zoo_gen.make.ray_engine import cluster
try:
    with cluster({address!r}, {workers}) as cpus:
        import ray
        ray.get(ray.remote(lambda: 1).remote(), timeout={seconds})
        found = ray.cluster_resources()
        print(len(ray.nodes()), cpus, int(found.get("GPU", 0)))
except DwszooError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Answer:
    """A line of the output.

    Attributes:
        status: ``"ok"``, ``"warning"`` or ``"missing"``.
        what: was checked.
        found: what is there, or is not and what needs it.
        remedy: a command or a sentence; empty where there is nothing to do.
        required: whether nothing works without it, or an option asked for it.
    """

    status: Literal["ok", "warning", "missing"]
    what: str
    found: str
    remedy: str = ""
    required: bool = False

    def __str__(self) -> str:
        width = min(max(shutil.get_terminal_size().columns, 60), 110) - STATUS - WHAT
        lines = textwrap.wrap(self.found, width, break_on_hyphens=False)
        lines += [f"-> {self.remedy}"] if self.remedy else []  # in one line, to be copied
        status = click.style(f"{self.status:<{STATUS}}", fg=COLOURS[self.status])
        return f"\n{' ' * (STATUS + WHAT)}".join(
            [f"{status}{self.what:<{WHAT}}{lines[0]}", *lines[1:]]
        )


@click.command()
@root_option
@click.option("--address", help="Of a Ray cluster or its dashboard, to be checked too.")
@debug_option
def doctor(root: str, address: str | None) -> None:
    """Check the environment and say how to fix it.

    Nothing is changed. The exit status is 0 if dwszoo works here, with what the options ask for;
    else 1. Optional parts may be missing: the line says what needs them.

    \b
    dwszoo doctor
    dwszoo doctor --root s3://bucket/prefix --address ray://head:10001
    """
    try:
        from zoo_gen import Store
    except ImportError as error:
        click.echo(Answer("missing", "packages", str(error), "pip install dwszoo"))
        raise click.ClickException("not ready: packages") from error
    store = Store(root, retry_seconds=0)
    checks: dict[str, tuple[Callable[[], Iterator[Answer]], bool]] = {
        "Python": (python, True),
        "torch": (torch, True),
        "C compiler": (compiler, False),
        "Ray": (lambda: ray(address), address is not None),
        "/dev/shm": (shared_memory, False),
        "root": (lambda: local_root(store) if store.is_local else s3(store), True),
        "MLflow": (lambda: mlflow(store), True),
        "plug-ins": (plugins, False),
    }
    failed = []
    for what, (check, required) in checks.items():
        for answer in answers(what, check, required):
            click.echo(answer)
            if answer.required and answer.status == "missing":
                failed.append(answer.what)
    if failed:
        raise click.ClickException(f"not ready: {', '.join(failed)}")
    click.echo("\ndwszoo works here")


def answers(
    what: str, check: Callable[[], Iterator[Answer]], required: bool, seconds: float = SECONDS
) -> list[Answer]:
    """What a check finds; that it failed or gave no answer is a finding as well."""
    found = [Answer("missing", what, f"no answer in {seconds:.0f} s", required=required)]

    def run() -> None:
        try:
            found[:] = check()
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            found[:] = [Answer("missing", what, reason, required=required)]

    thread = threading.Thread(target=run, daemon=True)  # ends with the process
    thread.start()
    thread.join(seconds)
    return list(found)


def python() -> Iterator[Answer]:
    """The interpreter, and the packages that dwszoo requires."""
    from packaging.requirements import Requirement

    yield Answer("ok", "Python", f"{platform.python_version()} ({sys.executable})")
    try:
        wanted = [Requirement(text) for text in requires("dwszoo") or []]
    except PackageNotFoundError:
        found = "dwszoo runs from a folder and is not installed: its packages were not checked"
        yield Answer("warning", "packages", found, "pip install -e .")
        return

    def installed(need: Requirement) -> bool:
        try:
            return need.specifier.contains(version(need.name), prereleases=True)
        except PackageNotFoundError:
            return False

    wanted = [need for need in wanted if not need.marker or need.marker.evaluate({"extra": ""})]
    missing = [need for need in wanted if not installed(need)]
    if missing:
        found = f"missing, or too old: {', '.join(need.name for need in missing)}"
        remedy = f"pip install {' '.join(repr(str(need)) for need in missing)}"
        yield Answer("missing", "packages", found, remedy, required=True)
    else:
        yield Answer("ok", "packages", f"all {len(wanted)} that dwszoo requires")


def torch() -> Iterator[Answer]:
    """torch and the GPU."""
    from importlib.util import find_spec

    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Answer(
        "ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads, {cpus} CPUs"
    )
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        found = f"{torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / GIB:.0f} GiB"
        if find_spec("triton") is None:
            yield Answer(
                "warning", "GPU", f"{found}; slow fits without triton", "pip install triton"
            )
        else:
            yield Answer("ok", "GPU", found)
    elif os.path.exists("/dev/nvidiactl"):
        found = f"present, but this torch ({torch.__version__}) cannot use it"
        yield Answer("warning", "GPU", found, "install a CUDA build of torch: pytorch.org")
    else:
        yield Answer("missing", "GPU", "none: everything runs on the CPU")


def compiler() -> Iterator[Answer]:
    """The C compiler, by building the kernel with it (it is cached)."""
    from zoo_gen.make.fit.compiler import NoCompilerError, cache_folder, kernel

    try:
        kernel()
    except NoCompilerError as error:
        found = f"{error}: fits take about four times as long"
        yield Answer("missing", "C compiler", found, "apt-get install gcc, or set CC")
    else:
        yield Answer("ok", "C compiler", f"compiled fits, cached in {cache_folder()}")


def ray(address: str | None) -> Iterator[Answer]:
    """Whether a local Ray starts, or the cluster of an address answers; a task is run on it."""
    from training.tracking.store import shown

    given = address is not None
    where = f"the cluster at {shown(address)}" if address else "a local Ray"
    if address is not None and address.startswith("http"):
        from pipeline.job_server import JobServer

        found = f"the dashboard at {shown(address)} lists {len(JobServer(address).jobs())} jobs"
        yield Answer("ok", "Ray", found)
        return
    program = RAY.format(address=address, workers=None if given else 1, seconds=SECONDS / 2)
    local = {} if given else {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**local, **os.environ},
            timeout=SECONDS * 0.9,
        )
        error = ran.stderr.strip() if ran.returncode else ""
    except subprocess.TimeoutExpired as timeout:
        error = f"no answer in {timeout.timeout:.0f} s (load {os.getloadavg()[0]:.0f})"
    if error:
        remedy = "ray status (on the cluster's head)" if given else "use --engine local"
        reason = shown(error.splitlines()[-1])
        yield Answer("missing", "Ray", f"{version('ray')}, but {reason}", remedy, required=given)
    else:
        nodes, cpus, gpus = ran.stdout.split()[-3:]
        size = f": {nodes} machine(s), {cpus} CPUs, {gpus} GPUs" if given else ""
        yield Answer("ok", "Ray", f"{version('ray')}, {where} ran a task{size}")


def shared_memory() -> Iterator[Answer]:
    """/dev/shm, through which Ray's workers exchange objects."""
    if os.path.isdir("/dev/shm"):
        free = shutil.disk_usage("/dev/shm").free
        found = f"{free / GIB:.1f} GiB free for Ray's workers"
        if free < SHARED:
            remedy = "in a container: docker run --shm-size=4g ..."
            yield Answer("warning", "/dev/shm", f"{found}: Ray is slow with so little", remedy)
        else:
            yield Answer("ok", "/dev/shm", found)


def local_root(store: Store) -> Iterator[Answer]:
    """Space and permission for a local root, which is not created by this."""
    root = Path(store.root)
    existing = next(place for place in (root, *root.parents) if place.exists())
    remedy = "choose another --root"
    if root.exists():
        store.check_writable()
    elif not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        found = f"{root} cannot be made: {existing} is a file or not writable"
        yield Answer("missing", "root", found, remedy, required=True)
        return
    free = shutil.disk_usage(existing).free
    status: Literal["ok", "warning"] = "ok" if free >= ROOM else "warning"
    remedy = "" if free >= ROOM else f"free some space, or {remedy}"
    yield Answer(status, "root", f"{root}, {free / GIB:.1f} GiB free", remedy)


def s3(store: Store) -> Iterator[Answer]:
    """Whether a root on S3 accepts an object, which is deleted again."""
    from training.tracking.store import shown
    from zoo_gen import StorageError

    credentials = store.credentials()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where = f"{store.root} at {shown(endpoint)}" if endpoint else store.root
    if credentials is None:
        remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        yield Answer("missing", "S3", f"{where}: no credentials were found", remedy, required=True)
        return
    try:
        store.check_writable()
    except StorageError as error:
        remedy = "check the bucket, its region, AWS_ENDPOINT_URL and the permissions"
        found = f"credentials ({credentials}), but {error}"
        yield Answer("missing", "S3", found, remedy, required=True)
    else:
        yield Answer("ok", "S3", f"{where} accepts objects; credentials: {credentials}")


def mlflow(store: Store) -> Iterator[Answer]:
    """The store of runs: that of `MLFLOW_TRACKING_URI`, or the file below a local root."""
    from training.tracking import store as tracking

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is not None:
        with tracking.store_errors(uri):
            tracking.client_of(uri).search_experiments(max_results=1)
        yield Answer("ok", "MLflow", f"{version('mlflow')}, runs in {tracking.shown(uri)}")
    elif store.is_local:
        yield Answer("ok", "MLflow", f"{version('mlflow')}, runs in {store.root}/mlflow.db")
    else:
        found = "runs of a root on S3 need a server or a database"
        remedy = "export MLFLOW_TRACKING_URI=http://HOST:5000 (make mlflow-server)"
        yield Answer("missing", "MLflow", found, remedy, required=True)


def plugins() -> Iterator[Answer]:
    """Sources, tasks and models of other packages."""
    from pipeline.config.config import plugins as offered

    found = offered()
    if not found:
        yield Answer("ok", "plug-ins", "no other package adds sources, tasks or models")
    for plugin in found:
        if plugin.problem:
            remedy = f"fix it, or pip uninstall {plugin.package.split()[0]}"
            yield Answer("warning", "plug-in", f"{plugin}: {plugin.problem}", remedy)
        else:
            yield Answer("ok", "plug-in", str(plugin))
