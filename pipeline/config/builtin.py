"""The configs that come with the package. Imports nothing heavy: shells complete their names."""

from __future__ import annotations

from pathlib import Path


def built_in_configs() -> dict[str, Path]:
    """Name -> file."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "configs").glob("*.yaml"))}
