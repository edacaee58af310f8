"""Classes of other packages: found by entry points, refused in a line where they do not fit."""

from __future__ import annotations

import logging
import pickle
import re
import sys
from pathlib import Path

import pytest

from tests.extending.packages import dwszoo, install
from training.models import NETWORKS
from training.tasks import TASKS
from zoo_gen import SOURCES, ConfigError, Digits, Source
from zoo_gen.plugins import Kinds
from zoo_gen.recipe.recipe import hashed

GROUP = "dwszoo.sources"
GOOD = """
from dataclasses import dataclass
from typing import Literal

from zoo_gen.sources import Source

@dataclass(frozen=True)
class Ramps(Source):
    kind: Literal["ramps"] = "ramps"
    count: int = 10

    def load(self):
        raise NotImplementedError
"""
BREACHES = {  # how the module differs from the good one -> what is told
    ("import dataclass", "import no_such_word"): r"cannot be imported \(ImportError: cannot import",
    ("@dataclass", "raise SystemExit(3)\n@dataclass"): r"cannot be imported \(SystemExit: 3\)",
    ("class Ramps", "class Slopes"): r"cannot be imported \(AttributeError: .* 'Ramps'\)",
    ("(Source)", ""): r"it is no subclass of zoo_gen\.sources\.base\.Source$",
    ("def load", "def lode"): r"the class lacks load$",
    ("(frozen=True)", ""): r"no frozen dataclass: write @dataclass\(frozen=True\) above it$",
    ('= "ramps"', '= "slopes"'): r'lacks the field kind: Literal\["ramps"\] = "ramps"$',
    ('Literal["ramps"]', "str"): r'lacks the field kind: Literal\["ramps"\] = "ramps"$',
    ("count: int", 'count: "Int"'): r"annotations of its fields cannot be read \(name 'Int'",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that this process sees."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ramps", raising=False)
    return tmp_path


def package(site: Path, text: str, name: str = "acme-ramps", kind: str = "ramps") -> None:
    """Install a package with one entry point."""
    points = {GROUP: {kind: "ramps:Ramps"}}
    install(site, {"name": name, "version": "1.2", "entry-points": points}, {"ramps.py": text})


def kinds() -> Kinds:
    """As dwszoo's own, read afresh."""
    return Kinds(GROUP, Source, Digits)


def test_a_class_of_another_package_stands_beside_ours(site: Path) -> None:
    package(site, GOOD)
    found = kinds()
    assert list(found) == ["digits", "ramps"]
    assert pickle.loads(pickle.dumps(found["ramps"](count=3))).count == 3
    assert [p.problem for p in found.plugins] == [""]


@pytest.mark.parametrize("change", BREACHES, ids=lambda change: " -> ".join(map(repr, change)))
def test_what_breaks_the_contract_is_left_out_and_told_in_a_line(
    site: Path, caplog: pytest.LogCaptureFixture, change: tuple[str, str]
) -> None:
    package(site, GOOD.replace(*change))
    with caplog.at_level(logging.WARNING, "dwszoo"):
        found = kinds()
        assert list(found) == ["digits"]
        list(found)  # told once, not at each look
    (told,) = caplog.messages
    assert "\n" not in told
    assert f"{GROUP}: ramps = ramps:Ramps, of the package acme-ramps 1.2: " in told
    assert re.search(BREACHES[change], told)


def test_our_names_cannot_be_taken(site: Path) -> None:
    package(site, GOOD, kind="digits")
    found = kinds()
    assert found["digits"] is Digits
    assert [p.problem for p in found.plugins] == ["the name is taken by dwszoo itself"]


def test_of_two_with_one_name_the_first_by_package_is_taken(site: Path) -> None:
    package(site, GOOD, "zebra")
    package(site, GOOD, "acme")
    assert [(p.package, p.problem) for p in kinds().plugins] == [
        ("acme 1.2", ""),
        ("zebra 1.2", "the name is taken by acme 1.2"),
    ]


def test_importing_dwszoo_imports_no_plug_in(site: Path) -> None:
    package(site, "raise RuntimeError")
    assert "_found" not in vars(kinds())
    for group in (SOURCES, TASKS, NETWORKS):
        assert len(group.own) > 5


def test_a_value_without_a_hash_is_told(site: Path) -> None:
    package(site, GOOD)
    with pytest.raises(ConfigError, match=r"^Ramps: .*set is not JSON serializable, so it has no"):
        hashed(kinds()["ramps"](count={1}))


def test_a_broken_package_leaves_all_others_at_work(tmp_path: Path) -> None:
    package(tmp_path, GOOD.replace("count: int", "count: Source"))
    points = {
        "dwszoo.sources": {"zoo": "good:Ramps", "good": "good:Good"},
        "dwszoo.models": {"lost": "lost:Lost"},
    }
    good = GOOD.replace("Ramps", "Good").replace("ramps", "good")
    zoo = GOOD.replace("ramps", "zoo").split("\nclass")[1]
    files = {"good.py": f"{good}\n@dataclass(frozen=True)\nclass{zoo}"}
    install(tmp_path, {"name": "mixed", "version": "0.1", "entry-points": points}, files)
    ran = dwszoo(
        tmp_path, ["configs"], ["generate", "digits", "--set", "source={kind: ramps, count: 3}"]
    )
    assert ran.returncode == 2
    assert ran.stdout.splitlines()[-1] == (
        "plug-in: dwszoo.sources: good = good:Good, of the package mixed 0.1"
    )
    told = ran.stderr.splitlines()
    assert [line.split(": ")[0] for line in told] == ["plug-in left out"] * 3 + ["dwszoo"]
    assert "zoo = good:Ramps, of the package mixed 0.1: the name is taken by dwszoo" in ran.stderr
    assert "dwszoo.models: lost = lost:Lost, of the package mixed 0.1: it cannot be" in ran.stderr
    assert "source.kind: got ramps; the package acme-ramps 1.2 has ramps, but its fi" in told[-1]
