"""The wheel and the sdist: what is in them, and that the command runs from an installed one."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("dws", "zoo_gen", "training", "pipeline")
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt")
MODELS = "models={mlp: {network: {kind: mlp, hidden: [8]}, training: {epochs: 1}}}"
BROUGHT_BY = {"botocore": "boto3", "fsspec": "s3fs", "pydantic_core": "pydantic", "triton": "torch"}
FOR_USERS = ("", "meshes", "postgres")  # extras
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
    data = {"zoo_gen/make/fit/kernel.c", "pipeline/config/configs/digits.yaml"}
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
    # without what it requires, which the next test asks for and this environment has
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", wheel], check=True)
    # the libraries of this environment, and not this checkout, which its .pth files would add
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))

    def dwszoo(*words: str) -> str:
        ran = subprocess.run(
            [venv / "bin" / "dwszoo", *words],
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


def test_a_wheel_requires_what_it_imports(wheel: Path) -> None:
    """Each outside module that is imported is of a package that the wheel names."""
    (metadata,) = (v for n, v in contents(wheel).items() if n.endswith(".dist-info/METADATA"))
    told = [Requirement(v) for k, v in message_from_bytes(metadata).items() if k == "Requires-Dist"]
    required = {
        canonicalize_name(one.name)
        for one in told
        if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in FOR_USERS)
    }
    owners = packages_distributions()
    missing = []
    for name in imported():
        owned_by = [BROUGHT_BY[name]] if name in BROUGHT_BY else owners.get(name, [name])
        if not required & {canonicalize_name(owner) for owner in owned_by}:
            missing.append(name)
    assert missing == []


def imported() -> set[str]:
    """Top names of all modules that our packages import, ours left out."""
    names: set[str] = set()
    for file in (f for package in PACKAGES for f in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(PACKAGES) - set(sys.stdlib_module_names)
