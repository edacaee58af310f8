"""What MkDocs calls while it builds the site: see `docs/generate`."""

from __future__ import annotations

import re
from pathlib import Path

from generate import notebooks, public, repository
from generate.commands import commands
from generate.keys import config_keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

GENERATED = {"commands": commands, "config": config_keys}
PAGES = (".md", ".ipynb")  # what links to other files
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)

_files: dict[str, Path] = {}  # page of the site -> file of the repository


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the notebooks and the pages of results into the navigation."""
    pages = {
        "Notebooks": [repository.uri(f) for f in repository.all_notebooks()],
        "Results": [repository.uri(f) for f in repository.results() if f.suffix == ".md"],
    }
    for section in config.nav or []:
        for name in pages.keys() & section.keys():
            section[name] += pages[name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results, and every file of the repository that a page links to."""
    try:
        public.check()
    except ValueError as error:
        raise PluginError(str(error)) from error
    _files.clear()
    waiting = [repository.DOCS / f.src_uri for f in files.documentation_pages()]
    waiting += repository.results() + repository.all_notebooks()
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
        if file.suffix == ".ipynb":
            for name, content in notebooks.paged(repository.ROOT / file)[1].items():
                place = f"{file.parent.as_posix()}/{name}"
                files.append(File.generated(config, place, content=content))
        if file.suffix in PAGES:
            waiting += repository.targets(repository.shown(file), file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is generated, and mend the links."""
    try:
        markdown = MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)
    except (ValueError, KeyError) as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
    file = _files[page.file.src_uri]
    return repository.relinked(markdown, file) if file.suffix in PAGES else markdown
