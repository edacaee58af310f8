"""Files of a root, local or on S3: the one door to fsspec and s3fs.

What is published is complete or absent. A local file is written beside its place and moved there;
an object is one PUT. An object store that has answered before and now is busy or away is
retried, with growing pauses, for some minutes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo_gen.errors import ConfigError, StorageError
from zoo_gen.retry import RETRY_SECONDS, Result, retry

STALE_SECONDS = 3600
# what S3 answers when it is busy (SlowDown, 503: EBUSY) or broken inside (500: EREMOTEIO), and what
# sockets say
TRANSIENT = {errno.EBUSY, errno.EREMOTEIO, errno.EPIPE, errno.ECONNREFUSED, errno.ECONNRESET}
TRANSIENT |= {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
CONNECTION = ("ConnectionError", "HTTPClientError", "ClientConnectionError", "ClientPayloadError")


class Store:
    """A folder of whole files.

    Args:
        root: a directory, or ``s3://bucket/prefix`` (credentials and endpoint from the usual
            environment variables, such as ``AWS_ENDPOINT_URL``).
        retry_seconds: for which an object store that has answered before is retried.

    Raises:
        ConfigError: another kind of root.
        StorageError: from every method, naming the path and the reason.
    """

    def __init__(self, root: str, retry_seconds: float = RETRY_SECONDS) -> None:
        self.is_local = "://" not in root
        if not self.is_local and "@" in root:
            raise ConfigError(
                "--root: got an address with credentials in it; give s3://bucket/prefix alone, and "
                "credentials by AWS_ACCESS_KEY_ID, AWS_PROFILE or an instance role"
            )
        if not root or not (self.is_local or root.startswith("s3://")):
            raise ConfigError(f"--root: got {root!r}, expected a directory or s3://bucket/prefix")
        self.root = os.path.abspath(os.path.expanduser(root)) if self.is_local else root.rstrip("/")
        self.retry_seconds = retry_seconds
        self._reached = False

    @classmethod
    def around(cls, file: str) -> tuple[Store, str]:
        """The folder of a file, given as a path or an address, and the file's name in it.

        The name is empty where a bucket alone is given.
        """
        folder, _, name = file.rpartition("/")
        if folder.endswith(":/"):
            return cls(file), ""
        return cls(folder or ("/" if file.startswith("/") else ".")), name

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "filesystem"}

    @cached_property
    def filesystem(self) -> Any:
        """The object store as fsspec knows it."""
        import fsspec

        with readable_errors("open", self.root):
            return fsspec.filesystem(
                self.root.split("://")[0],
                use_listings_cache=False,
                # brief, so that the first failure is soon logged; `_retried` tries on
                config_kwargs={"retries": {"total_max_attempts": 2}, "connect_timeout": 10},
            )

    def credentials(self) -> str | None:
        """How credentials for S3 are found ("env", "iam-role", ...); None where there are none."""
        from botocore.session import get_session

        found = get_session().get_credentials()
        return None if found is None else str(found.method)

    def url(self, path: str) -> str:
        """The full name of a path below the root.

        Raises:
            StorageError: the path leads out of the root; it may come from an untrusted file.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise StorageError(f"{path}: leads out of {self.root}; such a path is refused")
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
        url = self.url(path)
        if self.is_local:
            with readable_errors("look for", url):
                return os.path.exists(url)
        return bool(self._retried("look for", url, lambda: self.filesystem.exists(url)))

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; none where it does not exist."""
        url = self.url(folder)
        try:
            if self.is_local:
                with readable_errors("list", url):
                    return sorted(n for n in os.listdir(url) if not n.startswith("."))
            entries = self._retried("list", url, lambda: self.filesystem.ls(url, detail=False))
            return sorted(e.rstrip("/").rsplit("/", 1)[-1] for e in entries)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise

    def read(self, path: str) -> bytes:
        """The content of a file."""
        url = self.url(path)
        if self.is_local:
            with readable_errors("read", url):
                return Path(url).read_bytes()
        data: bytes = self._retried("read", url, lambda: self.filesystem.cat_file(url))
        return data

    def publish(self, path: str, data: bytes) -> None:
        """Make a whole file appear under this name, at once; writing it twice is harmless.

        A process killed in the middle leaves the name as it was.
        """
        url = self.url(path)
        self._write(url, data, url)

    def _write(self, url: str, data: bytes, name: str) -> None:
        if not self.is_local:
            self._retried("write", name, lambda: self.filesystem.pipe_file(url, data))
            return
        with readable_errors("write", name):
            place = Path(url)
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

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all that is below it; it need not be there."""
        url = self.url(path)
        if not self.is_local:
            if self._retried("look for", url, lambda: self.filesystem.isfile(url)):
                self._retried("delete", url, lambda: self.filesystem.rm_file(url))
            elif self.exists(path):
                self._retried("delete", url, lambda: self.filesystem.rm(url, recursive=True))
            return
        with readable_errors("delete", url):
            if os.path.isdir(url):
                shutil.rmtree(url)
            else:
                Path(url).unlink(missing_ok=True)

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a local folder: temporary files an hour old."""
        if not self.is_local:
            return
        with readable_errors("clean", self.url(folder)):
            for file in Path(self.url(folder)).glob(".*.tmp"):
                if time.time() - file.stat().st_mtime > STALE_SECONDS:
                    file.unlink(missing_ok=True)

    def check_writable(self, needed_bytes: int = 0) -> None:
        """Raise `StorageError` unless the root takes files (and, if local, has this much room)."""
        probe = f".probe-{uuid.uuid4().hex}"
        self._write(self.url(probe), b"dwszoo", f"to {self.root}")
        self.remove(probe)
        if not self.is_local:
            return
        with readable_errors("measure", self.root):
            free = shutil.disk_usage(self.root).free
        if free < needed_bytes:
            raise StorageError(
                f"{self.root}: {needed_bytes / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB free; "
                "make room or choose another --root"
            )

    def _retried(self, verb: str, url: str, action: Callable[[], Result]) -> Result:
        """Ask the object store; retry while it is away or busy.

        A store that has never answered is not retried: its address may be wrong.
        """

        def once() -> Result:
            try:
                with readable_errors(verb, url):
                    result = action()
            except StorageError as error:
                self._reached |= isinstance(error.__cause__, FileNotFoundError)  # an answer too
                raise
            self._reached = True
            return result

        return retry(
            once, lambda e: self._reached and _is_transient(e.__cause__), self.retry_seconds
        )


def _is_transient(error: BaseException | None) -> bool:
    """Whether an error may go away by itself."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in TRANSIENT:
        return True
    return any(cls.__name__ in CONNECTION for cls in type(error).__mro__)


@contextmanager
def readable_errors(verb: str, name: str) -> Iterator[None]:
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
