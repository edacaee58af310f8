"""Checks of what is elsewhere: Ray, a root on S3, the MLflow store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version

from pipeline.commands.doctor.check import Answer
from training.tracking.store import client_of, shown, told
from zoo_gen import DwszooError, Store, TrackingError

RAY_SECONDS = 120.0
SECONDS = RAY_SECONDS + 5
# in a process of its own, which can be ended with all that it started
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


def ray(address: str | None) -> list[Answer]:
    """Whether a Ray starts here, or the one of an address answers; a task is run on it."""
    known, needed = version("ray"), address is not None
    if address is not None and address.startswith("http"):
        return [_dashboard(address)]
    program = RAY.format(address=address, workers=None if needed else 1, seconds=RAY_SECONDS / 2)
    environment = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **os.environ}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ if needed else environment,
    )
    try:
        out, err = process.communicate(timeout=RAY_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        busy = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs"
        out, err = "", f"no answer in {RAY_SECONDS:.0f} s ({busy})"
    where = f"the cluster at {shown(address)}" if address else "a local Ray"
    if process.returncode == 0:
        nodes, cpus, gpus = out.split()[-3:]
        size = f": {nodes} machine(s), {cpus} CPUs, {gpus} GPUs" if needed else ""
        return [Answer("ok", "Ray", f"{known}, {where} ran a task{size}", needed=needed)]
    reason = shown((err.strip() or "it died").splitlines()[-1])
    remedy = "ray status (on the cluster's head)" if needed else "--engine local does without"
    return [Answer("missing", "Ray", f"{known}, but {reason}", remedy, needed=needed)]


def _dashboard(address: str) -> Answer:
    """Whether jobs can be submitted there."""
    from pipeline.commands.submit.server import JobServer

    try:
        count = len(JobServer(address).jobs())
    except DwszooError as error:
        return Answer("missing", "Ray", str(error), "ray dashboard cluster.yaml", needed=True)
    return Answer("ok", "Ray", f"the dashboard at {shown(address)} knows {count} jobs")


def s3(store: Store) -> list[Answer]:
    """Whether a root on S3 takes an object, which is deleted again."""
    kind = store.credentials()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where = f"{store.root} at {shown(endpoint)}" if endpoint else store.root
    if kind is None:
        told_of = f"{where}: no credentials were found"
        remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        return [Answer("missing", "S3", told_of, remedy, needed=True)]
    try:
        store.check_writable()
    except DwszooError as error:
        remedy = "check the bucket, its region, AWS_ENDPOINT_URL and what the credentials allow"
        return [Answer("missing", "S3", f"credentials ({kind}), but {error}", remedy, needed=True)]
    return [Answer("ok", "S3", f"{where} takes objects; credentials: {kind}")]


def mlflow(store: Store) -> list[Answer]:
    """The store of runs: one of `MLFLOW_TRACKING_URI`, or the file below a local root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and store.is_local:
        return [Answer("ok", "MLflow", f"{version('mlflow')}, runs in {store.root}/mlflow.db")]
    if uri is None:
        told_of = "runs of a root on S3 need a server, or a database"
        remedy = "export MLFLOW_TRACKING_URI=http://HOST:5000 (make mlflow-server)"
        return [Answer("missing", "MLflow", told_of, remedy, needed=True)]
    try:
        with told(uri):
            client_of(uri).search_experiments(max_results=1)
    except TrackingError as error:
        return [Answer("missing", "MLflow", str(error), needed=True)]
    return [Answer("ok", "MLflow", f"{version('mlflow')}, runs in {shown(uri)}, which answers")]
