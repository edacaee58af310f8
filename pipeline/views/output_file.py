"""Where a command may write a file or a page that an option names."""

from __future__ import annotations

from pathlib import Path

from zoo_gen import ConfigError, Store

HEAD = 2000  # bytes in which the mark stands


def mark(command: str) -> str:
    """The tag that marks a page as written by a command of dwszoo."""
    return f'<meta name="generator" content="dwszoo {command}">'


def output_file(option: str, file: str, example: str) -> tuple[Store, str]:
    """The file that an option names: a store and the name in it.

    Raises:
        ConfigError: it names a folder or a bucket.
    """
    store, name = Store.around(file)
    if not name or (store.is_local and Path(file).is_dir()):
        raise ConfigError(f"{option}: got {file!r}, expected the name of a file such as {example}")
    return store, name


def output_page(file: str, command: str) -> tuple[Store, str]:
    """The page that ``--html`` names: a store and the name in it.

    Args:
        file: as a person gave it.
        command: of dwszoo; only its own pages are overwritten.

    Raises:
        ConfigError: another file exists there, or no file is named.
    """
    store, name = output_file("--html", file, f"{command}.html")
    if store.exists(name) and mark(command).encode() not in store.read(name)[:HEAD]:
        raise ConfigError(
            f"--html: {file} exists and was not written by `dwszoo {command}`; choose another name "
            "or move it away"
        )
    return store, name
