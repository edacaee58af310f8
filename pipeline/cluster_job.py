"""A job of a Ray cluster: `dwszoo run` of a config, where it runs."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from zoo_gen.recipe.recipe import hash8

PREFIX = "dwszoo-"
FOLDER = "config"  # of the config that is uploaded with its job
PACKAGES = ("dws", "zoo_gen", "training", "pipeline")


@dataclass(frozen=True)
class ClusterJob:
    """``dwszoo run`` of a config, as a job of a Ray cluster.

    Attributes:
        name: of the config.
        config: of a built-in config, or a file that is uploaded with the job.
        options: of ``dwszoo run``, as on a command line.
        upload: upload these packages too, instead of using those installed on the cluster.
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
        """The start of its ids: the same for the same command and config, and for no other."""
        text = self.config.read_text() if isinstance(self.config, Path) else None
        return f"{PREFIX}{self.name}-{hash8({'entrypoint': self.entrypoint, 'config': text})}"

    def pack(self, folder: Path) -> None:
        """Copy what is uploaded with the job."""
        if isinstance(self.config, Path):
            (folder / FOLDER).mkdir()
            shutil.copy(self.config, folder / FOLDER)
        for package in PACKAGES if self.upload else ():
            source = Path(__file__).parents[1] / package
            shutil.copytree(
                source, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
