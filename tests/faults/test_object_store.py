"""A zoo on S3 while the store is killed, busy, slow, or hangs up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Drive, Shards, Tell, shards, until
from scripted import Scripted, attempts, once, recipe
from servers import KEY, USER, Act, Flaky, Moto, Script, Swift, environment

from zoo_gen import LocalEngine, StorageError, Store
from zoo_gen.make.generate import generate

BUSY = 14  # answers of 503: more than s3fs and botocore try by themselves, five times two


def use(port: int, patch: pytest.MonkeyPatch, **user: str) -> None:
    """Speak to the endpoint at this port from here on."""
    from s3fs import S3FileSystem

    for name, value in environment(port, **user).items():
        patch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # fsspec keeps one per bucket, whatever the environment


@contextmanager
def between(port: int, script: Script, patch: pytest.MonkeyPatch, **user: str) -> Iterator[Flaky]:
    """Our programs speak to a proxy that follows a script."""
    proxy = Flaky(port, script)
    use(proxy.port, patch, **user)
    try:
        yield proxy
    finally:
        proxy.close()


def generated(tmp_path: Path, root: str, retry_seconds: float = 60) -> Store:
    store = Store(root, retry_seconds)
    generate(store, recipe(), Scripted.of(tmp_path / "traces"), LocalEngine())
    return store


def test_a_store_killed_in_the_middle_of_an_upload_and_started_again(
    swift: Swift, drive: Drive, tmp_path: Path, undisturbed: Shards, monkeypatch: Any, tell: Tell
) -> None:
    at: list[float] = []  # the kill, and each later upload of the same object

    def back() -> None:
        until(lambda: "trying again" in driver.said(), "a word of it")  # by the task, to the person
        swift.start()

    def kill() -> None:
        time.sleep(0.5)  # the first half of the object is with the store by now
        swift.kill("proxy", "object")
        at.append(time.time())
        threading.Thread(target=back, daemon=True).start()

    def script(method: str, path: str, before: int) -> Act:
        if method != "PUT" or not path.endswith("part-00002.parquet"):
            return "pass"
        if not before:
            return kill
        at.append(time.time())
        return "pass"

    with between(swift.port, script, monkeypatch, user=USER, key=KEY) as proxy:
        driver = drive(Scripted.of(tmp_path / "traces"), "s3://zoo/killed", "local")
        status, said = driver.ends()
        puts = [p for m, p, _ in proxy.requests if m == "PUT" and "part-00002" in p]
    assert status == 0, said
    assert "part-00002.parquet" in said
    assert len(puts) > 1
    assert attempts(tmp_path / "traces") == once()
    use(swift.port, monkeypatch, user=USER, key=KEY)
    assert shards(Store("s3://zoo/killed")) == undisturbed
    tell(
        "SIGKILL of the S3 server in an upload, back after the first warning",
        tmp_path / "traces",
        at[0],
        at[-1],
    )


def test_half_an_object_is_never_listed(swift: Swift, tmp_path: Path, monkeypatch: Any) -> None:
    with between(swift.port, lambda *_: "cut", monkeypatch, user=USER, key=KEY) as proxy:
        store = Store("s3://zoo/half", retry_seconds=2)
        with pytest.raises(StorageError):
            store.publish("part", b"x" * 200_000)
        assert [m for m, _, act in proxy.requests if act == "cut"]
    use(swift.port, monkeypatch, user=USER, key=KEY)
    assert Store("s3://zoo/half").names("") == []


def test_a_busy_store_is_asked_again_and_the_person_is_told(
    moto: Moto, tmp_path: Path, undisturbed: Shards, monkeypatch: Any, caplog: Any, tell: Tell
) -> None:
    at: list[float] = []

    def script(method: str, path: str, before: int) -> str:
        if method != "PUT" or "part-00001" not in path:
            return "pass"
        at.append(time.time())
        return "503" if before < BUSY else "pass"

    with (
        between(moto.port, script, monkeypatch) as proxy,
        caplog.at_level(logging.WARNING, "dwszoo"),
    ):
        store = generated(tmp_path, "s3://zoo/busy")
        assert shards(store) == undisturbed
        assert sum(act == "503" for _, _, act in proxy.requests) == BUSY
    assert attempts(tmp_path / "traces") == once()
    told = [r.getMessage() for r in caplog.records if "trying again" in r.getMessage()]
    assert told
    assert all("part-00001.parquet" in line for line in told)
    tell(f"S3 answers 503, {BUSY} times", tmp_path / "traces", at[0], at[-1])


def test_a_store_that_stays_busy_ends_the_command_and_the_same_command_continues(
    moto: Moto, tmp_path: Path, undisturbed: Shards, monkeypatch: Any, tell: Tell
) -> None:
    busy = True

    def script(method: str, path: str, before: int) -> str:
        return "503" if busy and method == "PUT" and "part-00004" in path else "pass"

    with between(moto.port, script, monkeypatch):
        with pytest.raises(StorageError, match=r"tried for 3 s.*the same command continues"):
            generated(tmp_path, "s3://zoo/gone", retry_seconds=3)
        busy, again = False, time.time()
        assert shards(generated(tmp_path, "s3://zoo/gone")) == undisturbed
    assert attempts(tmp_path / "traces") == once(s4=2)
    tell("S3 stays busy, the same command again later", tmp_path / "traces", again, "4-1")


def test_answers_that_are_slow_or_lost_change_nothing(
    moto: Moto, tmp_path: Path, undisturbed: Shards, monkeypatch: Any, tell: Tell
) -> None:
    def script(method: str, path: str, before: int) -> Act:
        if method == "PUT" and "part" in path:
            return "lost" if before == 0 and "part-00003" in path else 0.3
        return "pass"

    with between(moto.port, script, monkeypatch) as proxy:
        store = generated(tmp_path, "s3://zoo/slow")
        assert shards(store) == undisturbed
        assert len([p for m, p, _ in proxy.requests if m == "PUT" and "part-00003" in p]) == 2
    assert attempts(tmp_path / "traces") == once()
    tell("S3 is slow, and one answer is lost", tmp_path / "traces")


def test_a_store_that_never_answered_is_not_waited_for(monkeypatch: Any) -> None:
    use(9, monkeypatch)
    pauses: list[float] = []
    monkeypatch.setattr("zoo_gen.retry.time.sleep", pauses.append)
    with pytest.raises(StorageError, match="Could not connect"):
        Store("s3://zoo/typo").check_writable()
    assert pauses == []


def test_a_refusal_is_not_tried_again(moto: Moto, monkeypatch: Any) -> None:
    use(moto.port, monkeypatch)
    store = Store("s3://zoo/refused")
    store.publish("a", b"1")
    pauses: list[float] = []
    monkeypatch.setattr("zoo_gen.retry.time.sleep", pauses.append)
    with pytest.raises(StorageError):
        store.read("b")
    assert pauses == []
