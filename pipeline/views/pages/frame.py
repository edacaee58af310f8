"""The frame of a page and its parts as HTML."""

from __future__ import annotations

from html import escape

from pipeline.views.pages.place import mark
from pipeline.views.pages.sheet import Sheet, plain, size
from pipeline.views.pages.style import CSS
from zoo_gen.health.verdict import Finding

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
ROOM = 12  # figures of the page's own size
TEXT = ("most frequent", "fingerprint", "outcome")  # columns of words


def document(name: str, title: str, command: str, parts: list[str]) -> str:
    """A whole page.

    Args:
        name: the heading; any text.
        title: of the window; any text.
        command: of dwszoo, which writes the page.
        parts: HTML.
    """
    body = "\n".join(parts)
    head = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n{mark(command)}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n"
        f"<body><header><h1>{escape(name)}</h1></header>\n<main>{body}</main>\n"
        f"<footer>Written by dwszoo {command}. This page holds "
    )
    tail = ".</footer>\n</body></html>\n"
    whole = len((head + tail).encode()) + ROOM
    return f"{head}{size(whole):>{ROOM}}{tail}"


def section(title: str, body: str) -> str:
    """A part with its heading."""
    return f"<section><h2>{title}</h2>{body}</section>"


def cards(charts: list[str]) -> str:
    """Figures side by side, as many as there is room for."""
    figures = "".join(f'<figure class="card">{chart}</figure>' for chart in charts)
    return f'<div class="cards">{figures}</div>'


def verdict(found: list[Finding]) -> str:
    """``healthy``, or what to look at."""
    if not found:
        return '<div class="verdict healthy"><strong>healthy</strong></div>'
    lines = "".join(f"<li>{escape(plain(finding))}</li>" for finding in found)
    return f'<div class="verdict"><strong>look at this</strong><ul>{lines}</ul></div>'


def table(sheet: Sheet) -> str:
    """A sheet; one that is too broad can be scrolled."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in sheet.notes)
    if sheet.header is None:
        pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in sheet.rows)
        return f"<dl>{pairs}</dl>{notes}"
    text = [' class="text"' if h in TEXT else "" for h in sheet.header]
    names = [escape(name) for name in sheet.header]
    head = "".join(f'<th scope="col"{t}>{h}</th>' for h, t in zip(names, text, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{t}>{escape(c)}</td>' for c, t in zip(row, text, strict=True))}</tr>"
        for row in sheet.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{sheet.title}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}"
    )
