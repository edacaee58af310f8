"""The configs that come with the package."""

from __future__ import annotations

from pathlib import Path


def built_in() -> dict[str, Path]:
    """Name -> file."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "configs").glob("*.yaml"))}
