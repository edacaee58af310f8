"""`dwszoo doctor` tells what is missing and what to do, hangs on nothing and tells no secret."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from pipeline.commands import doctor
from pipeline.commands.doctor import Answer, answers
from zoo_gen import Store
from zoo_gen.make.fit import compiler
from zoo_gen.plugins import Plugin

SECRET = "a-word-nobody-should-see"


def free_port() -> int:
    """Of loopback, where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is tried by the tests that say so alone: it takes seconds to start."""
    if "ray" not in request.node.name:
        found = [Answer("ok", "Ray", "not tried")]
        monkeypatch.setattr(doctor, "ray", lambda address: found)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> str:
    """Credentials, and the address of an endpoint where nobody listens."""
    S3FileSystem.clear_instance_cache()  # which would remember another test's endpoint
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return endpoint


@pytest.fixture
def endpoint(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One where a server listens, with a bucket."""
    import boto3

    server = ThreadedMotoServer("127.0.0.1", int(s3.rsplit(":", 1)[1]))
    server.start()
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield s3
    server.stop()


def test_all_is_well_here_and_told_in_eighty_columns(
    dwszoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = dwszoo("doctor", "--root", tmp_path / "root")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert all(re.match(r"(ok|warning|missing) +\S|  +\S|$", line) for line in lines[:-1])
    assert max(len(line) for line in lines if "->" not in line) <= 80
    assert lines[-1] == "dwszoo works here"
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_is_not_well(dwszoo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = dwszoo("doctor", "--root", tmp_path / "file" / "root")
    assert (code, err) == (1, "dwszoo: not ready: root\n")
    assert "is a file or not writable" in " ".join(out.split())
    assert "-> choose another --root" in out


def test_an_endpoint_that_is_away_is_told_without_the_secret(
    dwszoo, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:{SECRET}@127.0.0.1:{free_port()}")
    began = time.monotonic()
    code, out, err = dwszoo("doctor", "--root", "s3://bucket/prefix")
    assert (code, err) == (1, "dwszoo: not ready: S3, MLflow\n")
    words = " ".join(out.split())
    assert "credentials (env), but cannot write to s3://bucket/prefix:" in words
    assert "the MLflow store http://***@127.0.0.1" in words
    assert SECRET not in out
    assert time.monotonic() - began < 60


def test_a_bucket_that_takes_objects_is_well(endpoint: str) -> None:
    (found,) = doctor.s3(Store("s3://bucket/prefix", retry_seconds=0))
    told = f"s3://bucket/prefix at {endpoint} accepts objects; credentials: env"
    assert (found.status, found.found) == ("ok", told), found


def test_without_credentials_that_is_what_is_told(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    (found,) = doctor.s3(Store("s3://bucket/prefix", retry_seconds=0))
    assert found.required
    assert "no credentials were found" in found.found


def test_runs_of_a_root_on_s3_need_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = doctor.mlflow(Store("s3://bucket/prefix"))
    assert found.required
    assert "export MLFLOW_TRACKING_URI=" in found.remedy


def test_a_compiler_that_is_not_there_is_told_with_its_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    compiler.kernel.cache_clear()
    (found,) = doctor.compiler()
    compiler.kernel.cache_clear()
    assert (found.status, found.required) == ("missing", False)
    assert "no-such-compiler" in found.found
    assert "four times as long" in found.found
    assert "apt-get install gcc" in found.remedy


def test_packages_that_are_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=99", "torch", "no-such-thing", 'none>=99; extra == "meshes"']
    monkeypatch.setattr(doctor, "requires", lambda name: wanted)
    _, packages = doctor.python()
    assert packages.required
    assert packages.remedy == "pip install 'click>=99' 'no-such-thing'"


def test_a_plug_in_that_is_broken_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("x", "dwszoo.tasks", "a:B", "acme 1.2", "it cannot be imported")
    good = Plugin("y", "dwszoo.tasks", "a:C", "acme 1.2")
    monkeypatch.setattr("pipeline.config.config.plugins", lambda: [broken, good])
    first, second = doctor.plugins()
    assert (first.status, first.remedy) == ("warning", "fix it, or pip uninstall acme")
    assert (second.status, second.found) == ("ok", str(good))


@pytest.mark.parametrize("needed", [False, True])
def test_a_check_without_an_answer_is_given_up(needed: bool) -> None:
    (found,) = answers("slow", lambda: time.sleep(5) or [], needed, seconds=0.05)
    assert (found.status, found.required) == ("missing", needed)
    assert "no answer" in found.found


def test_a_check_that_breaks_is_a_finding() -> None:
    (found,) = answers("broken", lambda: [1 / 0], False)
    assert (found.status, found.found) == ("missing", "division by zero")


def test_a_ray_that_nobody_runs_is_told_at_once(dwszoo, tmp_path: Path) -> None:
    address = f"ray://127.0.0.1:{free_port()}"
    code, out, err = dwszoo("doctor", "--root", tmp_path, "--address", address)
    assert (code, err) == (1, "dwszoo: not ready: Ray\n")
    assert f"the Ray cluster at {address} could not be reached" in " ".join(out.split())


def test_a_check_that_breaks_fails_the_whole_where_an_option_asks_for_it(
    dwszoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ray", lambda address: [1 / 0])
    assert dwszoo("doctor", "--root", tmp_path)[0] == 0
    code, _, err = dwszoo("doctor", "--root", tmp_path, "--address", "ray://head:10001")
    assert (code, err) == (1, "dwszoo: not ready: Ray\n")


def test_a_ray_that_is_there_runs_a_task(ray_session: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    (found,) = doctor.ray(ray.get_runtime_context().gcs_address)
    assert found.status == "ok", found
    assert "ran a task: 1 machine(s), 2 CPUs, 0 GPUs" in found.found


def test_a_ray_that_never_starts_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "RAY", "import time; time.sleep(100)")
    monkeypatch.setattr(doctor, "SECONDS", 0.5)
    (found,) = doctor.ray(None)
    assert (found.status, found.required) == ("missing", False)
    assert "no answer in 0 s" in found.found
    assert found.remedy == "use --engine local"
