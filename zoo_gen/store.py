"""Files of a root, local or on S3: the one door to fsspec and s3fs.

What is published is complete or absent. A local file is written beside its place and moved there;
an object is one PUT.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo_gen.errors import ConfigError, StorageError

STALE_SECONDS = 3600


class Store:
    """A folder of whole files.

    Args:
        root: a directory, or ``s3://bucket/prefix`` (credentials and endpoint from the usual
            environment variables, such as ``AWS_ENDPOINT_URL``).

    Raises:
        ConfigError: another kind of root.
        StorageError: from every method, naming the path and the reason.
    """

    def __init__(self, root: str) -> None:
        self.is_local = "://" not in root
        if not root or not (self.is_local or root.startswith("s3://")):
            raise ConfigError(f"--root: got {root!r}, expected a directory or s3://bucket/prefix")
        self.root = os.path.abspath(os.path.expanduser(root)) if self.is_local else root.rstrip("/")

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    @cached_property
    def _remote(self) -> Any:
        import fsspec

        with _told("open", self.root):
            return fsspec.filesystem(self.root.split("://")[0], use_listings_cache=False)

    def url(self, path: str) -> str:
        """The full name of a path below the root."""
        return f"{self.root}/{path}" if path else self.root

    def local(self, path: str = "") -> Path:
        """The same as a local path.

        Raises:
            StorageError: the root is not local.
        """
        if not self.is_local:
            raise StorageError(f"{self.root}: this step needs a local root")
        return Path(self.url(path))

    def exists(self, path: str) -> bool:
        """Whether a whole file of this name is there."""
        with _told("look for", self.url(path)):
            if self.is_local:
                return os.path.exists(self.url(path))
            return bool(self._remote.exists(self.url(path)))

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; none where it does not exist."""
        with _told("list", self.url(folder)):
            try:
                if self.is_local:
                    return sorted(n for n in os.listdir(self.url(folder)) if not n.startswith("."))
                entries = self._remote.ls(self.url(folder), detail=False)
                return sorted(e.rstrip("/").rsplit("/", 1)[-1] for e in entries)
            except FileNotFoundError:
                return []

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with _told("read", self.url(path)):
            if self.is_local:
                return Path(self.url(path)).read_bytes()
            data: bytes = self._remote.cat_file(self.url(path))
            return data

    def publish(self, path: str, data: bytes) -> None:
        """Make a whole file appear under this name, at once; writing it twice is harmless.

        A process killed in the middle leaves the name as it was.
        """
        with _told("write", self.url(path)):
            if not self.is_local:
                self._remote.pipe_file(self.url(path), data)
                return
            place = Path(self.url(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
            try:
                with open(temporary, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, place)
            finally:
                temporary.unlink(missing_ok=True)

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a local folder: temporary files an hour old."""
        if not self.is_local:
            return
        with _told("clean", self.url(folder)):
            for file in Path(self.url(folder)).glob(".*.tmp"):
                if time.time() - file.stat().st_mtime > STALE_SECONDS:
                    file.unlink(missing_ok=True)

    def check_writable(self, needed_bytes: int = 0) -> None:
        """Raise `StorageError` unless the root takes files (and, if local, has this much room)."""
        probe = f".probe-{uuid.uuid4().hex}"
        self.publish(probe, b"dwszoo")
        with _told("write", self.url(probe)):
            if not self.is_local:
                self._remote.rm_file(self.url(probe))
                return
            os.unlink(self.url(probe))
            free = shutil.disk_usage(self.root).free
        if free < needed_bytes:
            raise StorageError(
                f"{self.root}: {needed_bytes / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB free; "
                "make room or choose another --root"
            )


@contextmanager
def _told(verb: str, name: str) -> Iterator[None]:
    """Turn what the operating system or the object store raises into one readable line."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        hints = {
            errno.ENOSPC: "the disk is full: make room, then run the same command again",
            errno.EACCES: "no permission: choose another --root or change its owner",
            errno.EPERM: "no permission: choose another --root or change its owner",
            errno.EROFS: "the disk is read-only: choose another --root",
            errno.ENOTDIR: "a part of the path is a file: choose another --root",
        }
        hint = hints.get(error.errno or 0, error.strerror or str(error) or type(error).__name__)
        raise StorageError(f"cannot {verb} {name}: {hint}") from error
    except Exception as error:  # botocore and aiohttp have no common base
        if type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore", "aiohttp"):
            raise
        raise StorageError(f"cannot {verb} {name}: {error}") from error
