"""What a job does: its id, and what travels with it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.cluster_job import PACKAGES, ClusterJob

JOB = ClusterJob("digits", "digits", ("--root", "/r"))


@pytest.mark.parametrize(
    "other",
    [
        ClusterJob("digits", "digits", ("--root", "/s")),
        ClusterJob("digits", "digits", ("--root", "/r"), upload=True),
        ClusterJob("digits", "mnist", ("--root", "/r")),
    ],
)
def test_other_work_has_another_id(other: ClusterJob) -> None:
    assert other.key != JOB.key


def test_a_changed_file_is_other_work(small: Path) -> None:
    before = ClusterJob("small", small).key
    small.write_text(small.read_text().replace("steps: 5", "steps: 6"))
    assert ClusterJob("small", small).key != before


def test_what_travels_is_the_config_and_what_was_asked_for(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "source", tmp_path / "packed"
    for package in PACKAGES:
        (source / package / "__pycache__").mkdir(parents=True)
        (source / package / "__pycache__" / "code.pyc").touch()
        (source / package / "code.py").touch()
    monkeypatch.setattr(
        "pipeline.cluster_job.__file__", str(source / "pipeline" / "cluster_job.py")
    )
    folder.mkdir()
    work = ClusterJob("small", small, upload=True)
    work.pack(folder)
    packed = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert packed == {"config/small.yaml", *(f"{package}/code.py" for package in PACKAGES)}
    assert shlex.split(work.entrypoint)[4] == "config/small.yaml"
    assert (folder / "config" / "small.yaml").read_text() == small.read_text()
