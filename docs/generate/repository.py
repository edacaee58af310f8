"""Links that work in the repository, made to work on the site too.

Pages lie in `docs/` and `benchmarks/results/`; what else they link to, such as a file of code, is
shown on a page of its own below ``source/``.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path

from generate import notebooks

ROOT = Path(__file__).parents[2]
DOCS, RESULTS = Path("docs"), Path("benchmarks/results")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(?=[)#])")
UNSEARCHED = "---\nsearch: {exclude: true}\n---\n\n"  # code would come before what describes it
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml", ".c": "c"}


def uri(file: Path) -> str:
    """Where a file of the repository, named from its root, stands on the site."""
    if file.suffix == ".ipynb":
        return file.with_suffix(".md").as_posix()
    for folder, place in ((DOCS, ""), (RESULTS, "results/")):
        if file.is_relative_to(folder):
            return place + file.relative_to(folder).as_posix()
    return f"source/{file.as_posix()}.md"


def results() -> list[Path]:
    """The pages of results and their pictures, named from the root."""
    folder = ROOT / RESULTS
    return sorted(RESULTS / f.name for f in folder.iterdir() if f.suffix in (".md", ".png"))


def all_notebooks() -> list[Path]:
    """The notebooks, named from the root."""
    return sorted(f.relative_to(ROOT) for f in (ROOT / "notebooks").glob("*.ipynb"))


def targets(text: str, file: Path) -> list[Path]:
    """What a page links to that is a file of the repository, named from its root."""
    paths = [Path(os.path.normpath(file.parent / link)) for link in LINK.findall(text)]
    return [path for path in paths if (ROOT / path).is_file()]


def shown(file: Path) -> str:
    """A file of the repository as a page."""
    if file.suffix == ".ipynb":
        return notebooks.paged(ROOT / file)[0]
    text = (ROOT / file).read_text()
    if file.suffix == ".md":
        return text
    language = LANGUAGES.get(file.suffix, "text")
    return f"{UNSEARCHED}# {file.as_posix()}\n\n``````{language}\n{text}``````\n"


def relinked(text: str, file: Path) -> str:
    """A page whose links to files of the repository are links of the site.

    A link to nothing stays as it is: MkDocs reports it.
    """

    def site(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(file.parent / match[1]))
        if not (ROOT / path).is_file():
            return match[1]
        return os.path.relpath(uri(path), os.path.dirname(uri(file)) or ".")

    return LINK.sub(site, text)
