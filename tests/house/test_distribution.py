"""The wheel and the sdist: what is in them, and that the command runs from an installed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("dws", "zoo_gen", "training", "pipeline")
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt")
MODELS = "models={mlp: {network: {kind: mlp, hidden: [8]}, training: {epochs: 1}}}"
TINY = ("--engine", "local", "--limit", "40", "--set", "zoo.views=1", "--set", MODELS)


def build(folder: Path, kind: str) -> Path:
    """Build a ``wheel`` or ``sdist`` of a folder, as an installer does, into its ``dist``."""
    program = f"import setuptools.build_meta as b; print(b.build_{kind}('dist'))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return folder / "dist" / ran.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing is built in the checkout; with tests, which must be left out."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in (*PACKAGES, "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """Built of the checkout."""
    return build(checkout, "wheel")


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    """Built of the checkout."""
    return build(checkout, "sdist")


def contents(wheel: Path) -> dict[str, bytes]:
    """Name -> content of the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_holds_the_packages_and_their_data_and_no_tests(wheel: Path) -> None:
    names = set(contents(wheel))
    assert {name.split("/")[0] for name in names} == {
        *PACKAGES,
        f"dwszoo-{__version__}.dist-info",
    }
    ours = [f.relative_to(ROOT) for p in PACKAGES for f in (ROOT / p).rglob("*") if f.is_file()]
    assert {f.as_posix() for f in ours if "__pycache__" not in f.parts} <= names
    data = {"zoo_gen/fit/kernel.c", "pipeline/configs/digits.yaml"}
    assert data | {f"{package}/py.typed" for package in PACKAGES} <= names


def test_an_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if "/tests" in name]
        archive.extractall(tmp_path, filter="data")
    assert contents(build(next(tmp_path.iterdir()), "wheel")) == contents(wheel)


def test_an_installed_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    venv, place = tmp_path / "venv", tmp_path / "elsewhere"
    place.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # the libraries of this environment, and not this checkout, which its .pth files would add
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    script = "import sys; from pipeline.cli import main; sys.argv[0] = 'dwszoo'; main()"

    def dwszoo(*words: str) -> str:
        ran = subprocess.run(
            [venv / "bin" / "python", "-c", script, *words],
            cwd=place,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert f"files: {site}" in dwszoo("configs")
    assert dwszoo("--version") == f"dwszoo, version {__version__}\n"
    assert "│ mlp" in dwszoo("run", "digits", *TINY)
    assert (place / "dwszoo-data").is_dir()
