"""What MkDocs calls while it builds the site: see `docs/generate`."""

from __future__ import annotations

import re
from pathlib import Path

from generate import public, repository
from generate.commands import commands
from generate.keys import config_keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

GENERATED = {"commands": commands, "config": config_keys}
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)

_files: dict[str, Path] = {}  # page of the site -> file of the repository


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of results into the navigation."""
    pages = [repository.uri(f) for f in repository.results() if f.suffix == ".md"]
    for section in config.nav or []:
        if "Results" in section:
            section["Results"] += pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results, and every file of the repository that a page links to."""
    try:
        public.check()
    except ValueError as error:
        raise PluginError(str(error)) from error
    _files.clear()
    waiting = [repository.DOCS / f.src_uri for f in files.documentation_pages()]
    waiting += repository.results()
    while waiting:
        file = waiting.pop()
        uri = repository.uri(file)
        if uri in _files:
            continue
        _files[uri] = file
        if files.get_file_from_path(uri) is None:
            path = repository.ROOT / file
            if file.suffix == ".png":
                files.append(File.generated(config, uri, abs_src_path=str(path)))
            else:
                files.append(File.generated(config, uri, content=repository.shown(file)))
        if file.suffix == ".md":
            waiting += repository.targets((repository.ROOT / file).read_text(), file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is generated, and mend the links."""
    try:
        markdown = MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)
    except (ValueError, KeyError) as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
    file = _files[page.file.src_uri]
    return repository.relinked(markdown, file) if file.suffix == ".md" else markdown
