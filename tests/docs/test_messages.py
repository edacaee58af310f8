"""docs/troubleshooting.md tells of every message of an error, and of none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from generate.messages import GAP, Message, entries, messages

from zoo_gen import errors

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
ELSEWHERE = {
    "dws/modules.py": "two sentences of the class that reads modules",
    "zoo_gen/exchange/imports/checkpoints.py": "why a file cannot be read, in another message",
    "zoo_gen/health/verdict.py": "what is wrong with a shard, told as it was found",
    "pipeline/config/config.py": "messages of pipeline/config/messages.py, joined",
    "pipeline/search.py": "the reasons of trials that failed",
}
"""Files with a message whose words do not stand where it is raised."""


def wraps(message: Message) -> bool:
    """Whether it only puts a key or a place before another message."""
    return bool(re.fullmatch(rf"[\w.{GAP}]+[:.] ?{GAP}", message.text or ""))


def test_every_message_is_told() -> None:
    told = entries(PAGE)
    silent = [
        f"{m.place}: {m.text}"
        for m in messages()
        if m.text is not None and not wraps(m) and not any(m.is_told_by(entry) for entry in told)
    ]
    assert silent == [], "add to docs/troubleshooting.md, with cause and cure:\n" + "\n".join(
        silent
    )


def test_every_entry_is_a_message() -> None:
    known = list(messages())
    assert [e for e in entries(PAGE) if not any(m.is_told_by(e) for m in known)] == []


def test_messages_without_words_of_their_own_are_these() -> None:
    wordless = {m.place.partition(":")[0] for m in messages() if m.text is None}
    assert wordless == set(ELSEWHERE)


def test_every_error_is_told() -> None:
    names = [name for name, it in vars(errors).items() if isinstance(it, type)]
    assert [n for n in names if n != "DwszooError" and f"`{n}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("… is corrupt (…)", True),
        ("… is corrupt", False),
        ("3 is corrupt (…)", False),
        ("… is broken (…)", False),
        ("… is corrupt (…)…)", False),
    ],
)
def test_an_entry_covers_a_message_or_not(entry: str, told: bool) -> None:
    assert Message("here", f"{GAP} is corrupt ({GAP})").is_told_by(entry) is told
