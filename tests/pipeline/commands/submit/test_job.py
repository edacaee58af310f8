"""What a job does: its id, and what travels with it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.cluster_job import PACKAGES, Work

WORK = Work("digits", "digits", ("--root", "/r"))


@pytest.mark.parametrize(
    "other",
    [
        Work("digits", "digits", ("--root", "/s")),
        Work("digits", "digits", ("--root", "/r"), upload=True),
        Work("digits", "mnist", ("--root", "/r")),
    ],
)
def test_other_work_has_another_id(other: Work) -> None:
    assert other.key != WORK.key


def test_a_changed_file_is_other_work(small: Path) -> None:
    before = Work("small", small).key
    small.write_text(small.read_text().replace("steps: 5", "steps: 6"))
    assert Work("small", small).key != before


def test_what_travels_is_the_config_and_what_was_asked_for(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "source", tmp_path / "packed"
    for package in PACKAGES:
        (source / package / "__pycache__").mkdir(parents=True)
        (source / package / "__pycache__" / "code.pyc").touch()
        (source / package / "code.py").touch()
    monkeypatch.setattr(
        "pipeline.cluster_job.__file__", str(source / "pipeline" / "submit" / "job.py")
    )
    folder.mkdir()
    work = Work("small", small, upload=True)
    work.pack(folder)
    packed = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert packed == {"config/small.yaml", *(f"{package}/code.py" for package in PACKAGES)}
    assert shlex.split(work.entrypoint)[4] == "config/small.yaml"
    assert (folder / "config" / "small.yaml").read_text() == small.read_text()
