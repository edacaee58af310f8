"""What is in a zoo, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.views.inspect.sheets import sheets
from pipeline.views.pages.sheet import Sheet, plain
from zoo_gen.health.health import Health
from zoo_gen.health.verdict import Finding


def describe(health: Health, found: list[Finding]) -> RenderableType:
    """Tables, then the verdict."""
    parts: list[RenderableType] = []
    for sheet in sheets(health):
        parts += [_table(sheet), *(Text(note, style="dim") for note in sheet.notes), ""]
    return Group(*parts, verdict(found))


def verdict(found: list[Finding]) -> RenderableType:
    """``healthy``, or ``look at this`` and a line per finding."""
    if not found:
        return Text("healthy", style="green")
    lines = [Text(f"- {plain(finding)}") for finding in found]
    return Group(Text("look at this", style="bold yellow"), *lines)


def _table(sheet: Sheet) -> Table:
    # texts, not strings: what stands in a zoo is no markup
    if sheet.header is None:
        table = Table.grid(padding=(0, 2))
        for _ in range(2):
            table.add_column(overflow="fold")
        table.title, table.title_justify = Text(sheet.title), "left"
    else:
        table = Table(title=Text(sheet.title), title_justify="left", box=box.SIMPLE_HEAD)
        # seven columns of numbers fit in eighty letters
        table.pad_edge, table.collapse_padding = False, True
        for i, name in enumerate(sheet.header):
            text = name in ("most frequent", "fingerprint")
            table.add_column(
                Text(name), justify="left" if i == 0 or text else "right", overflow="fold"
            )
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table
