"""What a person sees while a command works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 10.0


class Bar:
    """Progress of one step.

    Args:
        console: where it goes (standard error: results go to standard output).
        title: of the step.
        total: units of the whole step.
        unit: what is counted, in the plural.
    """

    def __init__(self, console: Console, title: str, total: int, unit: str) -> None:
        self.console, self.title, self.total, self.unit = console, title, total, unit
        self.done, self.note = 0, ""
        self.started = self.printed = time.monotonic()
        self.first: int | None = None
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(title, total=total, note="")

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if error is None:
            seconds = time.monotonic() - self.started
            new = self.done - (self.first or 0)
            self.say(f"{self.title}: {new:,} {self.unit} in {seconds:.0f} s")

    def update(self, done: int, note: str = "") -> None:
        """Tell how many units are done, and what is going on."""
        self.first = done if self.first is None else self.first
        self.done, self.note = max(done, self.done), note or self.note
        self.bar.update(self.task, completed=self.done, note=self.note)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed >= LINE_SECONDS:
            self.printed = now
            self.say(
                f"{self.title}: {self.done:,} of {self.total:,} {self.unit} {self.note}".rstrip()
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
