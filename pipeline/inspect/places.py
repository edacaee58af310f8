"""Which zoo is meant, and where a page may be written."""

from __future__ import annotations

from pathlib import Path

from zoo_gen import ConfigError, Store, ZooError, ZooReader, open_zoo

MARK = '<meta name="generator" content="dwszoo inspect">'
HEAD = 2000  # bytes in which the mark stands


def find(store: Store, name: str) -> ZooReader:
    """A zoo by its folder (local or S3), or by its name or the start of it below the root.

    Raises:
        ZooError: there is none, or several; names those that are there.
    """
    if "://" in name or (Path(name) / "zoo.json").is_file():
        return open_zoo(name)
    known = store.names("zoos")
    found = [zoo for zoo in known if zoo == name] or [z for z in known if z.startswith(name)]
    if len(found) == 1:
        return ZooReader(store, f"zoos/{found[0]}")
    what = f"several zoos match ({', '.join(found)})" if found else "no zoo of this name"
    raise ZooError(
        f"{name}: {what}; {store.root} holds {', '.join(known) or 'none'}. Give one of these or "
        "the folder of a zoo"
    )


def page_place(file: str) -> tuple[Store, str]:
    """Where a page goes: a store and the name in it.

    Raises:
        ConfigError: something is there that is no page of ``dwszoo inspect``, or no file is named.
    """
    folder, _, name = file.rpartition("/")
    if not name or (not file.startswith("s3://") and Path(file).is_dir()):
        raise ConfigError(f"--html: got {file!r}, expected the name of a file such as zoo.html")
    store = Store(folder or ("/" if file.startswith("/") else "."))
    if store.exists(name) and MARK.encode() not in store.read(name)[:HEAD]:
        raise ConfigError(
            f"--html: {file} is there and is no page of `dwszoo inspect`, which alone is written "
            "over; choose another name or move it away"
        )
    return store, name
