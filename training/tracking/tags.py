"""What a run says of the code and the machine that made it, in MLflow's words where it has some."""

from __future__ import annotations

import getpass
import platform
import socket
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dwszoo", "torch", "ray", "mlflow", "numpy")
GIT_SECONDS = 10


@cache
def run_tags() -> dict[str, str]:
    """Tags of every run that this process begins: user, host, versions, and the git commit."""
    tags = {"mlflow.source.name": "dwszoo", "mlflow.source.type": "LOCAL"}
    tags |= {"host": socket.gethostname(), "version.python": platform.python_version()}
    for package in PACKAGES:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:  # of a checkout that is not installed
            continue
    with suppress(KeyError, OSError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return tags | git_tags(Path(__file__))


def git_tags(file: Path) -> dict[str, str]:
    """The commit of the checkout that this file is of, and whether it was changed since.

    Nothing where the file belongs to no checkout: an installed package may lie below another's.
    """
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return {}
    commit, changes = _git(file, "rev-parse", "HEAD"), _git(file, "status", "--porcelain", "-uno")
    if commit is None or changes is None:
        return {}
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.dirty": "true" if changes else "false",
    }


def _git(file: Path, *arguments: str) -> str | None:
    """What git says, None where it fails or is not there."""
    try:
        said = subprocess.run(
            ["git", "-C", str(file.parent), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None
