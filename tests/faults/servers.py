"""Object stores on loopback that can be killed, started again, and told to misbehave."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SWIFT = ROOT / ".venv" / "swift" / "bin" / "python"  # `make test` installs it
USER, KEY = "test:tester", "planted-s3-secret-5d1e"  # looked for where it must not be
SERVERS = ("account", "container", "object", "proxy")
START = """
import sys
import swift.common.utils as utils
utils.SWIFT_CONF_FILE = sys.argv[1]
utils.validate_hash_conf()
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[2], sys.argv[3]))
"""
PROXY_PIPELINE = "catch_errors gatekeeper listing_formats s3api tempauth bulk slo dlo symlink"
PROXY_PIPELINE += " versioned_writes proxy-logging proxy-server"

Act = str | float | Callable[[], None]
Script = Callable[[str, str, int], Act]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_for(port: int, seconds: float = 30) -> None:
    """Until somebody listens."""
    until = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, f"nobody listens on {port}"
        time.sleep(0.05)


class Swift:
    """OpenStack Swift with its S3 interface: durable, and as real as an object store gets here.

    Args:
        folder: for its disks and settings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "disks" / "d1").mkdir(parents=True)
        (folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\n"
            "[storage-policy:0]\nname = only\ndefault = yes\n"
        )
        for name in SERVERS:
            (folder / f"{name}.conf").write_text(self._settings(name))
        for name in ("account", "container", "object"):
            for step in (
                ["create", "4", "1", "1"],
                ["add", f"r1z1-127.0.0.1:{self.ports[name]}/d1", "1"],
                ["rebalance"],
            ):
                command = [str(SWIFT.with_name("swift-ring-builder")), f"{name}.builder", *step]
                subprocess.run(command, cwd=folder, check=True, capture_output=True)

    def _settings(self, name: str) -> str:
        common = (
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self.ports[name]}\nworkers = 0\n"
            f"swift_dir = {self.folder}\ndevices = {self.folder}/disks\nmount_check = false\n"
            f"log_name = {name}\n"
        )
        if name != "proxy":
            app = f"[app:{name}-server]\nuse = egg:swift#{name}\n"
            return f"{common}[pipeline:main]\npipeline = {name}-server\n{app}"
        filters = [f for f in PROXY_PIPELINE.split() if f != "proxy-server"]
        text = f"{common}[pipeline:main]\npipeline = {PROXY_PIPELINE}\n"
        text += "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
        for item in filters:
            text += f"[filter:{item}]\nuse = egg:swift#{item.replace('-', '_')}\n"
            text += "s3_acl = false\nlocation = us-east-1\n" if item == "s3api" else ""
            text += f"user_test_tester = {KEY} .admin\n" if item == "tempauth" else ""
        return text

    @property
    def port(self) -> int:
        """Where S3 is spoken."""
        return self.ports["proxy"]

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        for name in SERVERS:
            if name in self.processes:
                continue
            files = [str(self.folder / f) for f in ("swift.conf", f"{name}.conf")]
            command = [str(SWIFT), "-c", START, *files, f"{name}-server"]
            with open(self.folder / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    command, cwd=self.folder, stdout=log, stderr=log
                )
        for port in self.ports.values():
            wait_for(port)

    def kill(self, *names: str) -> None:
        """SIGKILL these servers, or all."""
        for name in names or tuple(self.processes):
            process = self.processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()


class Mlflow:
    """A tracking server on loopback, with runs in SQLite.

    Args:
        folder: of its database and log.
        artifacts: where they go, a folder or ``s3://...``.
    """

    def __init__(self, folder: Path, artifacts: str) -> None:
        self.folder, self.artifacts = folder, artifacts
        (self.port,) = free_ports(1)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", self.artifacts]
        # its runners of GenAI jobs are six processes more, of which nothing here makes use
        lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "mlflow.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=lean, start_new_session=True
            )
        wait_for(self.port, 120)

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Moto:
    """A quick S3 endpoint that forgets when it stops."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Flaky:
    """A proxy before an S3 endpoint that follows a script, and counts.

    Args:
        port: of the endpoint.
        script: asked for each request with (method, path, how often this method and path came
            before); gives what to do: ``"pass"``, ``"503"``, ``"cut"`` (pass half of the body on
            and hang up), ``"lost"`` (pass the request on and hang up without the answer), or a
            number of seconds to wait before passing it on.
    """

    def __init__(self, port: int, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, str, Act]] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                act = outer.count(self.command, self.path)
                if act == "503":
                    self.reply(
                        503, {}, b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>"
                    )
                    return
                if act == "cut" or callable(act):
                    with socket.create_connection(("127.0.0.1", port)) as other:
                        head = f"{self.command} {self.path} HTTP/1.1\r\n{self.headers}"
                        other.sendall(head.encode() + body[: len(body) // 2])
                        if callable(act):
                            act()
                    self.close_connection = True
                    return
                if isinstance(act, float):
                    time.sleep(act)
                other = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    other.putrequest(self.command, self.path, True, True)
                    for name, value in self.headers.items():
                        other.putheader(name, value)
                    other.endheaders(body or None)
                    answer = other.getresponse()
                    code, fields, data = answer.status, dict(answer.headers), answer.read()
                except OSError:  # the endpoint is dead: so is this connection
                    self.close_connection = True
                    return
                finally:
                    other.close()
                if act == "lost":
                    self.close_connection = True
                    return
                self.reply(code, fields, data)

            def reply(self, code: int, fields: dict[str, str], data: bytes) -> None:
                self.send_response_only(code)
                for name, value in fields.items():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = fields.get("Content-Length") if self.command == "HEAD" else len(data)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def count(self, method: str, path: str) -> Act:
        """What the script says to this request, kept."""
        path = path.split("?")[0]
        with self.lock:
            before = sum(1 for m, p, _ in self.requests if (m, p) == (method, path))
            act = self.script(method, path, before)
            self.requests.append((method, path, act))
            return act

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def environment(port: int, user: str = "test", key: str = "test") -> dict[str, str]:
    """What makes a program use the endpoint at this port."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(port: int, name: str, user: str = "test", key: str = "test") -> None:
    """A bucket at this endpoint."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=user,
        aws_secret_access_key=key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
