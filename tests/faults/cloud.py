"""A cluster that grows and shrinks by itself: Ray's autoscaler over its fake provider.

Nodes of the fake provider are real raylets on this machine. Ray's own wrapper for tests,
``AutoscalingCluster``, is of no use here: it stops every Ray of the machine, and reads a file that
the package does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from harness import ENVIRONMENT
from servers import free_ports, wait_for

HEAD, WORKER = "ray.head.default", "fit"  # the first is how the provider calls it
MEMORY = 80 * 2**20  # of an object store
NOT_SET = (
    *("setup_commands", "initialization_commands", "head_setup_commands"),
    *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
    *("rsync_exclude", "rsync_filter", "cluster_synced_files"),
)


class Cloud:
    """A head without CPUs, and up to two machines of one CPU that come and go.

    Args:
        idle_seconds: after which a machine without work goes.
    """

    def __init__(self, idle_seconds: float = 8) -> None:
        # short: sockets lie in it
        self.folder = Path(tempfile.mkdtemp(prefix="dz", dir="/tmp"))
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        settings = self.folder / "autoscaling.yaml"
        settings.write_text(json.dumps(_settings(self.address, idle_seconds)))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--num-cpus=0", f"--object-store-memory={MEMORY}", f"--port={port}"]
        command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false"]
        command += [f"--temp-dir={self.folder}", f"--autoscaling-config={settings}"]
        fake = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        with open(self.folder / "head.log", "wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **ENVIRONMENT, **fake}, stdout=log, stderr=log
            )
        wait_for(port, 90)

    @property
    def machines(self) -> int:
        """How many machines there are beside the head."""
        raylets = 0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # it may end between the list and the question
                alive = process.status() != psutil.STATUS_ZOMBIE
                raylets += alive and process.name() == "raylet"
        return max(0, raylets - 1)

    def end(self) -> None:
        """SIGKILL to all of it."""
        family = self._family()
        self.process.kill()
        self.process.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def _settings(address: str, idle_seconds: float) -> dict[str, Any]:
    """What `ray up` would read."""
    worker = {"CPU": 1, "object_store_memory": MEMORY}
    return {
        "cluster_name": "fake",
        "max_workers": 2,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": idle_seconds / 60,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            WORKER: {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in NOT_SET},
    }
