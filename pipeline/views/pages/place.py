"""Where a file or a page may be written."""

from __future__ import annotations

from pathlib import Path

from zoo_gen import ConfigError, Store

HEAD = 2000  # bytes in which the mark stands


def mark(command: str) -> str:
    """What says that a page is of a command of dwszoo."""
    return f'<meta name="generator" content="dwszoo {command}">'


def file_place(option: str, file: str, example: str) -> tuple[Store, str]:
    """Where a file goes that an option names: a store and the name in it.

    Raises:
        ConfigError: it names a folder or a bucket.
    """
    store, name = Store.around(file)
    if not name or (store.is_local and Path(file).is_dir()):
        raise ConfigError(f"{option}: got {file!r}, expected the name of a file such as {example}")
    return store, name


def page_place(file: str, command: str) -> tuple[Store, str]:
    """Where a page goes: a store and the name in it.

    Args:
        file: as a person gave it.
        command: of dwszoo, whose pages alone may be written over.

    Raises:
        ConfigError: something is there that is no such page, or no file is named.
    """
    store, name = file_place("--html", file, f"{command}.html")
    if store.exists(name) and mark(command).encode() not in store.read(name)[:HEAD]:
        raise ConfigError(
            f"--html: {file} is there and is no page of `dwszoo {command}`, which alone is written "
            "over; choose another name or move it away"
        )
    return store, name
