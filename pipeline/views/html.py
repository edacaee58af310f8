"""Pages from the templates in ``templates/``, each complete in one file."""

from __future__ import annotations

from functools import cache
from typing import Any

from pipeline.views.images import scale_bar
from pipeline.views.output_file import mark
from pipeline.views.text_table import number, printable, size

SIZE = "(size of this page)"  # stands in for it until it is known
ROOM = 12  # characters of the size, so that writing it does not change it


def render(template: str, command: str, heading: str, title: str, **values: Any) -> str:
    """A whole page; text in it is escaped.

    Args:
        template: a file of ``templates/``.
        command: of dwszoo, which writes the page.
        heading: of the page.
        title: of the window.
        values: for the template.
    """
    text = (
        _environment()
        .get_template(template)
        .render(
            command=command, heading=heading, title=title, mark=mark(command), size=SIZE, **values
        )
    )
    head, _, tail = text.rpartition(SIZE)  # in the footer
    return f"{head}{size(len((head + tail).encode()) + ROOM):>{ROOM}}{tail}"


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("pipeline.views"),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {"number": number, "printable": printable}
    found.globals |= {"scale_bar_uri": scale_bar}
    return found
