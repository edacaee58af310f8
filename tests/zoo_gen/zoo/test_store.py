"""What is published is whole or absent, here and on S3."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from zoo_gen import StorageError, Store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "root"))
    return Store(f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}")


def test_what_is_published_is_read_back(store: Store) -> None:
    store.publish("a/b.bin", b"one")
    assert store.exists("a/b.bin")
    assert store.read("a/b.bin") == b"one"
    store.publish("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    assert store.names("a") == ["b.bin"]


def test_what_is_not_there_is_told(store: Store) -> None:
    assert not store.exists("a/b.bin")
    assert store.names("nothing") == []
    with pytest.raises(StorageError, match=r"cannot read .*a/b.bin"):
        store.read("a/b.bin")


def test_the_check_leaves_nothing_behind(store: Store) -> None:
    store.check_writable()
    assert store.names("") == []


def test_an_s3_bucket_that_does_not_exist_is_one_line(s3: str) -> None:
    with pytest.raises(StorageError, match="cannot write s3://no-such-bucket"):
        Store("s3://no-such-bucket/a").publish("b", b"")


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    store.publish("a", b"old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full: make room"):
        store.publish("a", b"new")
    assert store.read("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_process_killed_while_writing_shows_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from zoo_gen.zoo.store import Store\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store(sys.argv[1]).publish('part', b'x' * 10_000_000)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    store = Store(str(tmp_path))
    assert store.names("") == []
    assert not store.exists("part")


def test_old_temporary_files_are_swept_and_fresh_ones_are_not(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".a.1.tmp", tmp_path / ".b.2.tmp"
    for file in (old, fresh):
        file.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    Store(str(tmp_path)).sweep("")
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EACCES, "no permission"), (errno.EROFS, "read-only"), (errno.ENOTDIR, "is a file")],
)
def test_a_root_that_takes_no_files_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    root = tmp_path / "root"
    with pytest.raises(StorageError, match=f"^cannot write to {root}: .*{hint}"):
        Store(str(root)).check_writable()


def test_a_root_below_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        Store(str(tmp_path / "file" / "root")).check_writable()


def test_too_little_room_is_told_before_work_begins(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="are needed"):
        Store(str(tmp_path)).check_writable(needed_bytes=10**18)
