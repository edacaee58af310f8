"""Which zoo is meant."""

from __future__ import annotations

from pathlib import Path

from zoo_gen import Store, ZooError, ZooReader, open_zoo


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
    if found:
        raise ZooError(f"{name}: several zoos begin so; give one of {', '.join(found)}")
    if known:
        raise ZooError(
            f"{name}: no zoo of this name in {store.root}; give one of {', '.join(known)}, or the "
            "folder of a zoo"
        )
    raise ZooError(
        f"{name}: {store.root} holds no zoo; give another --root, or the folder of a zoo"
    )
