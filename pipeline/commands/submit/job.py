"""What a job of a Ray cluster does, and what is known of it."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_gen.recipe.recipe import hash8

PREFIX = "dwszoo-"
FOLDER = "config"  # of the config that travels with its job
PACKAGES = ("dws", "zoo_gen", "training", "pipeline")


@dataclass(frozen=True)
class Work:
    """What a job does: ``dwszoo run`` of a config, on the cluster where it runs.

    Attributes:
        name: of the config.
        config: of a built-in config, or a file that travels with the job.
        options: of ``dwszoo run``, as on a command line.
        upload: let these packages travel too, instead of using those the cluster has.
    """

    name: str
    config: str | Path
    options: tuple[str, ...] = ()
    upload: bool = False

    @property
    def entrypoint(self) -> str:
        """The command, quoted for a shell."""
        file = isinstance(self.config, Path)
        config = f"{FOLDER}/{Path(self.config).name}" if file else str(self.config)
        program = ("python", "-m", "pipeline") if self.upload else ("dwszoo",)
        return shlex.join([*program, "run", config, "--address", "auto", *self.options])

    @property
    def key(self) -> str:
        """Beginning of the ids of its jobs: the same for the same work, and for no other."""
        text = self.config.read_text() if isinstance(self.config, Path) else None
        return f"{PREFIX}{self.name}-{hash8({'entrypoint': self.entrypoint, 'config': text})}"

    def pack(self, folder: Path) -> None:
        """Copy what travels with the job."""
        if isinstance(self.config, Path):
            (folder / FOLDER).mkdir()
            shutil.copy(self.config, folder / FOLDER)
        for package in PACKAGES if self.upload else ():
            source = Path(__file__).parents[2] / package
            shutil.copytree(
                source, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )


@dataclass(frozen=True)
class Job:
    """A job as the server tells of it.

    Attributes:
        id: for ``--attach`` and ``--stop``.
        config: name of its config; empty for a job that is not ours.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        started: seconds since 1970, None before it starts.
        seconds: it has run so far, or ran.
        message: Ray's words; of a failed job the last line of its log.
        exit_code: of the command, None while it runs or where it never ran.
    """

    id: str
    config: str
    status: str
    started: float | None
    seconds: float
    message: str
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")

    @classmethod
    def of(cls, details: Any) -> Job:
        """From Ray's ``JobDetails``."""
        start = details.start_time / 1000 if details.start_time else None
        end = details.end_time / 1000 if details.end_time else time.time()
        return cls(
            details.submission_id,
            (details.metadata or {}).get("config", ""),
            str(details.status),
            start,
            max(0.0, end - start) if start else 0.0,
            last_line(details.message or ""),
            details.driver_exit_code,
        )


def last_line(text: str) -> str:
    """The last line that is not empty, or nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
