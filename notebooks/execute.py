"""Run the notebooks from top to bottom and save them with their outputs: `make notebooks`.

    python notebooks/execute.py [FILE ...]     all of them, or these

One thread and fixed seeds: another run gives the same outputs, up to rounding. Nothing of the
machine is kept: no times, no versions, no paths.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SECONDS_PER_CELL = 600
ENVIRONMENT = {
    "PYTHONPATH": str(FOLDER.parent),
    "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel in the home is not ours
    "OMP_NUM_THREADS": "1",
}
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def files() -> list[Path]:
    """All notebooks, in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(file: Path) -> nbformat.NotebookNode:
    """A notebook with fresh outputs, of an empty folder, in a process with `ENVIRONMENT`."""
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=SECONDS_PER_CELL,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def main(names: list[str]) -> None:
    """Execute and save."""
    os.environ |= ENVIRONMENT
    for file in map(Path, names) if names else files():
        nbformat.write(executed(file), file)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
