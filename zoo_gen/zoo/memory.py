"""Memory: what reading a zoo needs, and what this process may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from zoo_gen.zoo.shards import GROUP_BYTES
from zoo_gen.zoo.zoo import READERS, ZooReader

FLOAT = 4
COLUMN_BYTES = 256  # of a row beside its weights, text included
DECODING = 10  # times a row group: pages, levels, a result that doubles, what allocators keep


def bytes_of_batches(zoo: ZooReader, size: int) -> int:
    """Most bytes that `ZooReader.batches` allocates, whatever the zoo's length.

    Decoded shards: the one that is handed out, the one before (which the caller's last batch keeps)
    and one for each reader, with the file's bytes and a row group being decoded beside it; and two
    batches. `benchmarks/loading.py` holds a process to it.

    Args:
        zoo: which.
        size: of a batch.
    """
    row = FLOAT * zoo.space.size + COLUMN_BYTES
    shard = int(zoo.description["recipe"]["zoo"]["rows_per_shard"]) * row
    group = max(GROUP_BYTES, row)
    return (2 + 2 * READERS) * shard + READERS * DECODING * group + 2 * size * row


def bytes_of_theta(zoo: ZooReader) -> int:
    """Bytes of all weights and columns in memory."""
    return len(zoo) * (FLOAT * zoo.space.size + COLUMN_BYTES)


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process can still take: the least of what its limits leave.

    The machine's memory, control groups (version 2) and ``ulimit -d`` and ``-v`` count. None where
    the system does not report it (it is not Linux).

    Args:
        proc: the kernel's reports on processes.
        groups: its reports on control groups.
    """
    return min(_left(proc, groups), default=None)


def _left(proc: Path, groups: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        yield _kib(proc / "meminfo", "MemAvailable")
    with suppress(OSError, ValueError, IndexError):
        own = next(
            line.split("::")[1].strip("/\n")
            for line in (proc / "self/cgroup").read_text().splitlines()
            if line.startswith("0::")
        )
        for folder in (groups / own, *(groups / own).parents):
            if folder == groups.parent:
                break
            with suppress(OSError, ValueError, IndexError):
                yield _group_left(folder)
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource  # not on Windows

        for limit, used in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                yield max(0, most - _kib(proc / "self/status", used))


def _group_left(folder: Path) -> int:
    """What a control group's limit leaves; what the page cache holds is given back when needed."""
    most = int((folder / "memory.max").read_text())  # "max" is none: no number
    used = int((folder / "memory.current").read_text())
    cache = (folder / "memory.stat").read_text().split("inactive_file ")[1].split()[0]
    return max(0, most - used + int(cache))


def _kib(file: Path, field: str) -> int:
    return 1024 * int(file.read_text().split(f"{field}:")[1].split()[0])
