"""`dwszoo inspect` as a person uses it: what it tells of good, broken and hostile zoos."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from zoo_gen.zoo.shards import decode, encode

SINES = """
name: sines
description: a few sines
source: {kind: sine, points: 30, count: 14}
zoo:
  fit: {widths: [1, 4, 1], steps: 3}
  split: {train: 10, val: 2, test: 2}
  rows_per_shard: 5
"""


DIGITS = """
name: digits
description: a few digits
source: {kind: digits}
limit: 14
zoo:
  fit: {widths: [2, 4, 1], steps: 3}
  split: {train: 10, val: 2, test: 2}
  rows_per_shard: 5
"""


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The config's file, of sines unless a test asks for another."""
    file = tmp_path / "config.yaml"
    file.write_text(getattr(request, "param", SINES))
    return file


@pytest.fixture
def zoo(dwszoo, config: Path, tmp_path: Path) -> Path:
    """A zoo of fourteen sines in three shards, none of which has a PSNR."""
    code, out, err = dwszoo("generate", config, "--root", tmp_path, "--engine", "local")
    assert code == 0, err
    return Path(out.strip())


def rewrite(zoo: Path, description: dict[str, object], **columns: object) -> None:
    """Give a zoo another description, and columns beside its own, None for one that varies."""
    (zoo / "zoo.json").write_text(json.dumps(description))
    for file in sorted((zoo / "shards").iterdir()):
        kept, _ = decode(file.read_bytes(), file.name)
        varied = kept["member"].astype(float)
        extra = {
            name: varied if x is None else np.full(len(varied), x) for name, x in columns.items()
        }
        file.write_bytes(encode({**kept, **extra}, description))


def test_what_a_zoo_does_not_have_is_not_a_row(dwszoo, zoo: Path) -> None:
    code, out, _ = dwszoo("inspect", zoo)
    assert code == 0
    assert out.rstrip().endswith("healthy")
    assert "Columns without any value: psnr." in out
    assert not re.search(r"^ *psnr", out, re.M)
    assert "nan" not in out
    assert re.search(r"^ *all +14 +0 *$", out, re.M)
    assert re.search(r"zoo\.fit\.widths +1, 4, 1", out)


@pytest.fixture
def broken(zoo: Path) -> dict[str, bytes]:
    """The files of a zoo as they were, before one went missing and another changed in one bit."""
    whole = {f.name: f.read_bytes() for f in (zoo / "shards").iterdir()}
    (zoo / "shards/part-00000.parquet").unlink()
    data = bytearray(whole["part-00002.parquet"])
    data[500] ^= 1
    (zoo / "shards/part-00002.parquet").write_bytes(data)
    return whole


def test_verify_names_every_bad_shard(dwszoo, zoo: Path, broken: dict[str, bytes]) -> None:
    code, out, err = dwszoo("inspect", zoo, "--verify")
    assert code == 1
    told = " ".join(out.split())
    assert "shards missing: 1 of 3 (part-00000.parquet)" in told
    assert "part-00002.parquet is corrupt" in told
    assert "2 shards cannot be used (1 missing, 1 corrupt: part-00000.parquet, part-" in err


def test_what_verify_advises_mends_the_zoo(
    dwszoo, zoo: Path, config: Path, tmp_path: Path, broken: dict[str, bytes]
) -> None:
    bad = (zoo / "shards/part-00002.parquet").read_bytes()
    _, out, _ = dwszoo("inspect", zoo, "--verify")
    told = re.search(r"`dwszoo inspect (.*?) --mend`", " ".join(out.split()))
    assert told is not None
    code, out, _ = dwszoo("inspect", told[1].replace(" ", ""), "--mend")  # a path may be folded
    assert code == 1  # the zoo lacks two shards now
    assert f"quarantined as {zoo}/aside/part-00002.parquet" in out
    assert (zoo / "aside/part-00002.parquet").read_bytes() == bad
    assert dwszoo("generate", config, "--root", tmp_path, "--engine", "local")[0] == 0
    assert {f.name: f.read_bytes() for f in (zoo / "shards").iterdir()} == broken
    code, out, _ = dwszoo("inspect", zoo, "--verify")
    assert (code, "all 3 shards are intact" in out) == (0, True)


def test_a_shard_of_another_zoo_is_named_and_mended(
    dwszoo, zoo: Path, config: Path, tmp_path: Path
) -> None:
    file = zoo / "shards/part-00001.parquet"
    whole = file.read_bytes()
    words = ("--root", tmp_path / "o", "--engine", "local", "--set", "zoo.seed=1")
    other = Path(dwszoo("generate", config, *words)[1].strip())
    file.write_bytes((other / "shards/part-00001.parquet").read_bytes())
    out = " ".join(dwszoo("inspect", zoo, "--verify")[1].split())
    assert f"part-00001.parquet belongs to another zoo (hash {other.name[-8:]}" in out
    assert dwszoo("inspect", zoo, "--mend")[0] == 1
    assert dwszoo("generate", config, "--root", tmp_path, "--engine", "local")[0] == 0
    assert file.read_bytes() == whole
    assert dwszoo("inspect", zoo, "--verify")[0] == 0


def test_a_broken_zoo_is_told_as_far_as_it_can_be_read(
    dwszoo, zoo: Path, broken: dict[str, bytes], tmp_path: Path
) -> None:
    code, out, err = dwszoo("inspect", zoo, "--html", tmp_path / "page.html")
    assert code == 1
    assert "look at this" in out
    assert re.search(r"^ *all +5 ", out, re.M)
    assert "Traceback" not in err
    page = (tmp_path / "page.html").read_text()
    assert "part-00002.parquet is corrupt" in page
    assert "Network member" in page


def test_a_zoo_without_any_network_left_has_a_page(dwszoo, zoo: Path, tmp_path: Path) -> None:
    shutil.rmtree(zoo / "shards")
    code, out, _ = dwszoo("inspect", zoo, "--html", tmp_path / "page.html")
    assert code == 1
    assert "shards missing: 3 of 3" in " ".join(out.split())
    assert "look at this" in (tmp_path / "page.html").read_text()


HOSTILE = '</style><script>alert(1)</script>"\x1b[2J[red]'


@pytest.mark.parametrize("config", [SINES, DIGITS], ids=["sines", "digits"], indirect=True)
def test_text_of_a_zoo_is_text(dwszoo, zoo: Path, tmp_path: Path) -> None:
    description = json.loads((zoo / "zoo.json").read_text())
    description["recipe"]["name"] = HOSTILE
    description["recipe"]["note"] = [HOSTILE]
    description["versions"]["torch"] = HOSTILE
    rewrite(zoo, description, **{HOSTILE: None, "kind" + HOSTILE: HOSTILE, "split": HOSTILE})
    (zoo / "shards" / "<script>.parquet").write_text("a stray file")
    code, out, err = dwszoo("inspect", zoo, "--html", tmp_path / "page.html")
    assert code == 0, err
    assert "\x1b" not in out + err
    assert "[red]" in "".join(out.split())
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5


def test_a_page_is_written_over_a_page_and_nothing_else(dwszoo, zoo: Path, tmp_path: Path) -> None:
    file = tmp_path / "thesis.html"
    file.write_text("<html>ten years of work</html>")
    code, _, err = dwszoo("inspect", zoo, "--html", file)
    assert code == 2
    assert "was not written by `dwszoo inspect`" in err
    assert file.read_text() == "<html>ten years of work</html>"
    file.unlink()
    for _ in range(2):
        assert dwszoo("inspect", zoo, "--html", file)[0] == 0
    assert file.read_text().rstrip().endswith("</html>")


def test_the_same_zoo_gives_the_same_page(dwszoo, zoo: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        assert dwszoo("inspect", zoo, "--html", tmp_path / name)[0] == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_recipe_cannot_say_which_files_are_opened(
    dwszoo, mnist: Path, zoo: Path, tmp_path: Path
) -> None:
    description = json.loads((zoo / "zoo.json").read_text())
    description["recipe"]["source"] = {"kind": "idx", "path": str(mnist)}
    (zoo / "zoo.json").write_text(json.dumps(description))
    code, _, err = dwszoo("inspect", zoo, "--html", tmp_path / "page.html")
    assert code == 0, err
    assert "Targets are not shown: --source PATH" in (tmp_path / "page.html").read_text()


def test_the_targets_are_the_signals_of_the_zoo_or_none(
    dwszoo, mnist: Path, zoo: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    dwszoo("inspect", zoo, "--html", page)
    assert 'and its target"' in page.read_text()
    description = json.loads((zoo / "zoo.json").read_text())
    description["recipe"]["source"]["seed"] = 1
    (zoo / "zoo.json").write_text(json.dumps(description))
    dwszoo("inspect", zoo, "--html", page)
    assert 'and its target"' not in page.read_text()
    assert "the source gives other signals today" in page.read_text()
    description["recipe"]["source"] = {"kind": "idx"}
    (zoo / "zoo.json").write_text(json.dumps(description))
    code, _, err = dwszoo("inspect", zoo, "--html", page, "--source", mnist)
    assert code == 1
    assert f"the signals in {mnist} are not those" in err


MISTAKES = {
    "both": (["--verify", "--html", "x.html"], "--verify: checks the shards alone"),
    "source alone": (["--source", "x"], "--source: is for the page; add --html FILE"),
    "folder": (["--html", "."], "--html: got '.', expected the name of a file"),
    "no name": (["--html", "pages/"], "--html: got 'pages/', expected the name of a file"),
    "a bucket": (["--html", "s3://bucket"], "--html: got 's3://bucket', expected the name of"),
    "no such source": (["--html", "x.html", "--source", "x"], "of the kind sine are generated"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    dwszoo, zoo: Path, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = MISTAKES[mistake]
    code, _, err = dwszoo("inspect", zoo, *arguments)
    assert (code, message in err) == (2, True), err
    assert not list(tmp_path.glob("*.html"))


def test_an_imported_zoo_is_told_with_the_command_that_imports_it(dwszoo, tmp_path: Path) -> None:
    import torch

    (tmp_path / "src").mkdir()
    for i in range(12):
        torch.manual_seed(i)
        state = {"0.weight": torch.randn(3, 2), "0.bias": torch.randn(3)}
        state |= {"2.weight": torch.randn(1, 3), "2.bias": torch.randn(1)}
        torch.save(state, tmp_path / "src" / f"{i}.pth")
    _, out, err = dwszoo("import", "folder", tmp_path / "src", "--root", tmp_path)
    place = Path(out.strip())
    (place / "shards/part-00000.parquet").unlink()
    code, out, err = dwszoo("inspect", place)
    assert code == 1, err
    assert "`dwszoo import folder SRC --name src`" in " ".join(out.split())
