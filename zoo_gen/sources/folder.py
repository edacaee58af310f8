"""Folders of pictures, a sub-folder for each class."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from zoo_gen.errors import SourceError
from zoo_gen.sources.base import Signals, Source, existing
from zoo_gen.sources.images import images_with_labels
from zoo_gen.sources.pictures import Framing, Stack, decode

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
WHAT = "the directory that holds a folder of pictures for each class"

Labelled = list[tuple[Path, int]]


@dataclass(frozen=True)
class Folder(Source):
    """Pictures in a folder for each class, below ``train/`` and ``test/`` or not.

    Classes are numbered in the order of their folders' names (as numbers, if all names are).
    PNG, JPEG and what else Pillow reads (`PICTURES`); other files and hidden ones are passed over.

    Attributes:
        path: the directory.
        gray, crop, resize: see `zoo_gen.sources.pictures.Framing`.
    """

    kind: Literal["folder"] = "folder"
    path: str = field(default="", metadata={"hash": False})
    gray: bool = False
    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        Framing(self.crop, self.gray, self.resize)

    def load(self) -> Signals:
        """Signals are the pictures by part, class and name, ``train/`` first."""
        files, parts = split_files(existing(self.path, WHAT), PICTURES, "picture")
        stack = Stack(len(files), Framing(self.crop, self.gray, self.resize))
        for file, _ in files:
            try:
                data = file.read_bytes()
            except OSError as error:
                raise SourceError(f"{file} cannot be read: {error.strerror}") from error
            stack.add(decode(data, str(file)), str(file))
        labels = np.array([label for _, label in files], np.int64)
        return images_with_labels(stack.images(), labels, np.array(parts))


def split_files(folder: Path, endings: set[str], what: str) -> tuple[Labelled, list[str]]:
    """The files of each class, and the part of each.

    Args:
        folder: holds class folders, or ``train/`` and ``test/`` that hold them.
        endings: of the files that count, in lower case.
        what: one of them is called, for messages.

    Returns:
        (file, class) in order; ``"train"``, ``"test"`` or ``""`` of each.

    Raises:
        SourceError: there are none, a class is empty, or the parts have other classes.
    """
    below = {f.name: f for f in _folders(folder)}
    if not {"train", "test"} <= set(below):
        files = class_files(folder, endings, what)
        return files, [""] * len(files)
    if others := sorted(set(below) - {"train", "test"}):
        raise SourceError(
            f"{folder} has {', '.join(others)} beside train and test; move its {what}s into train "
            "(zoo.split takes the validation part from there) or take it away"
        )
    names = [f.name for f in _folders(below["train"])]
    train = class_files(below["train"], endings, what)
    test = class_files(below["test"], endings, what, names)
    return train + test, ["train"] * len(train) + ["test"] * len(test)


def class_files(
    folder: Path, endings: set[str], what: str, names: list[str] | None = None
) -> Labelled:
    """(file, class) of each class folder, in order.

    Args:
        folder: holds the class folders.
        endings: of the files that count, in lower case.
        what: one of them is called, for messages.
        names: of the classes, in order; None for the folders that are there.

    Raises:
        SourceError: no class, an unknown one, or one without files.
    """
    there = _folders(folder)
    if not there:
        raise SourceError(f"{folder} has no folders; expected one for each class, with {what}s")
    names = names if names is not None else [f.name for f in there]
    if strangers := [f.name for f in there if f.name not in names]:
        raise SourceError(
            f"{folder} has classes that the training part has not: {', '.join(strangers)}; "
            f"it has {', '.join(names)}"
        )
    found: Labelled = []
    for place in there:
        files = sorted(f for f in place.iterdir() if f.suffix.lower() in endings and _shown(f))
        if not files:
            raise SourceError(
                f"{place} is an empty class: it has no {what} ({', '.join(sorted(endings))}); "
                "fill it or remove the folder"
            )
        found += [(file, names.index(place.name)) for file in files]
    return found


def _folders(folder: Path) -> list[Path]:
    """Sub-folders by name, by number if all names are numbers."""
    found = [f for f in folder.iterdir() if f.is_dir() and _shown(f)]
    if all(f.name.isascii() and f.name.isdigit() for f in found):
        return sorted(found, key=lambda f: (int(f.name), f.name))
    return sorted(found)


def _shown(file: Path) -> bool:
    return not file.name.startswith(".")
