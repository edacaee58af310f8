"""Build ``kernel.c`` with this machine's C compiler: once per machine, for all its processes."""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.c")
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
WIDE = ["-mprefer-vector-width=512"]  # else GCC and Clang halve the vectors of AVX-512
SECONDS = 120


class NoCompilerError(Exception):
    """The kernel cannot be built here, and why."""


@cache
def kernel() -> ctypes.CDLL:
    """The built kernel, from the cache or built now.

    It is kept in ``$DWSZOO_CACHE``, or ``dwszoo`` below ``$XDG_CACHE_HOME`` or ``~/.cache``, named
    for source, compiler and kind of processor. The first process of a machine builds it, the others
    wait for that.

    Raises:
        NoCompilerError: there is no C compiler, or it fails.
    """
    compiler = _compiler()
    flags = FLAGS + (WIDE if platform.machine() in ("x86_64", "AMD64") else [])
    # the macros that a compiler predefines name its version and what the processor can do
    known = _ran([compiler, *flags, "-dM", "-E", "-x", "c", os.devnull]).stdout
    digest = hashlib.sha256(" ".join(flags).encode() + known + SOURCE.read_bytes()).hexdigest()
    folder = cache_folder()
    library = folder / f"fit-{digest[:16]}.so"
    with open(folder / f"{library.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                built = Path(scratch) / library.name
                _ran([compiler, *flags, "-o", str(built), str(SOURCE), "-lm"])
                os.replace(built, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NoCompilerError(f"{library} cannot be loaded: {error}") from error


def cache_folder() -> Path:
    """Folder of built kernels; where that cannot be written, a folder of this process's own."""
    chosen = os.environ.get("DWSZOO_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else base / "dwszoo"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return _own_folder()


@cache
def _own_folder() -> Path:
    """One folder, which ends with the process."""
    folder = Path(tempfile.mkdtemp(prefix="dwszoo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _compiler() -> str:
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise NoCompilerError(f"there is no C compiler here ({', '.join(names)})")


def _ran(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise NoCompilerError(f"the C compiler {command[0]} failed ({reason[0]})") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCompilerError(f"the C compiler {command[0]} failed ({error})") from error
