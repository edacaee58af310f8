"""The site builds strictly, and tells of every command, option, config key and public name."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from generate import public
from pydantic import TypeAdapter

from pipeline.commands.cli import cli
from pipeline.config.config import Config

ROOT = Path(__file__).parents[2]


def built(site: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    """Build the site into a folder."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    folder = tmp_path_factory.mktemp("site")
    ended = built(folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def sections(page: Path) -> dict[str, str]:
    """Heading -> what stands below it, of a built page."""
    parts = re.split(r"<h[23][^>]*>(.*?)</h[23]>", page.read_text(), flags=re.DOTALL)[1:]
    return {plain(heading): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


def plain(text: str) -> str:
    """The words of a piece of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()).strip("¶ ")


def all_commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, those of groups within too."""
    for word, command in group.commands.items():
        yield f"{name} {word}", command
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{name} {word}")


def test_every_command_and_option_is_told(site: Path) -> None:
    told = sections(site / "reference" / "commands.html")
    commands = dict(all_commands(cli, "dwszoo"))
    assert set(commands) == set(told)
    for name, command in commands.items():
        for option in command.params:
            words = (
                option.opts if isinstance(option, click.Option) else [option.human_readable_name]
            )
            for word in words:
                found = re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", plain(told[name]))
                assert found, (name, word)


def test_every_config_key_is_told(site: Path) -> None:
    # pydantic's own schema of the config; the page is made from dataclasses and docstrings
    schema = TypeAdapter(Config).json_schema()
    entry = re.compile(r"<dt><code>(?:[\w.]+\.)?(\w+)</code>")
    told = {
        heading: set(entry.findall(text))
        for heading, text in sections(site / "reference" / "config.html").items()
    }
    for name, part in {"Config": schema, **schema["$defs"]}.items():
        keys = part.get("properties", {})
        kind = keys.get("kind", {}).get("const")
        places = [h for h in told if h.endswith(f": {kind}" if kind else "")]
        assert any(told[place] == set(keys) for place in places), (name, sorted(keys))


def test_every_public_name_is_told(site: Path) -> None:
    pages = "".join(f.read_text() for f in (site / "reference").glob("*.html"))
    lacking = [name for name in public.in_reference() if f'id="{name}"' not in pages]
    assert lacking == []
    assert set(public.public_names()) > {"dws.DWSNet", "zoo_gen.open_zoo", "training.tasks.Task"}


def test_every_notebook_is_a_page_with_its_pictures(site: Path) -> None:
    files = sorted((ROOT / "notebooks").glob("*.ipynb"))
    shown = {f: re.findall(r'<img[^>]* src="([^"]+)"', page_of(site, f).read_text()) for f in files}
    kept = {f: f.read_text().count('"image/png": ') for f in files}
    assert {f: len(pictures) for f, pictures in shown.items()} == kept
    assert all((site / "notebooks" / name).is_file() for names in shown.values() for name in names)


def test_tables_of_notebooks_look_like_those_of_the_site(site: Path) -> None:
    pages = [page_of(site, f).read_text() for f in (ROOT / "notebooks").glob("*.ipynb")]
    tables = [table for page in pages for table in re.findall(r"<table[^>]*>", page)]
    assert len(tables) > 5
    assert set(tables) == {"<table>"}


def test_code_is_shown_but_not_searched(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert list((site / "source").rglob("*.html"))
    assert [doc["location"] for doc in found if doc["location"].startswith("source/")] == []


def page_of(site: Path, notebook: Path) -> Path:
    """The page of a notebook."""
    return site / "notebooks" / f"{notebook.stem}.html"


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:)?//', re.IGNORECASE
    )
    assert [p.name for p in site.rglob("*.html") if loaded.search(p.read_text())] == []


def test_a_broken_link_fails(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nothing](nowhere.md)\n")
    told = (ROOT / "mkdocs.yml").read_text()
    kept = re.sub(r"(?ms)^(hooks|nav|plugins|extra_css):.*?(?=^\w|\Z)", "", told)
    (tmp_path / "mkdocs.yml").write_text(kept)
    ended = built(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert ended.returncode != 0
    assert "nowhere.md" in ended.stderr


def test_a_public_name_without_a_place_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [name for name in public.in_reference() if name != "dws.DWSNet"]
    monkeypatch.setattr(public, "in_reference", lambda: told)
    with pytest.raises(ValueError, match=r"in no page of docs/reference: dws\.DWSNet"):
        public.check()


def test_a_public_name_without_a_docstring_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [*public.in_reference(), "training.loop.State"]
    monkeypatch.setattr(public, "in_reference", lambda: told)
    with pytest.raises(ValueError, match=r"without a docstring: training\.loop\.State"):
        public.check()
