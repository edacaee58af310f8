"""What a check answers, and how long it may take to do so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Answer:
    """One line of what a check answers.

    Attributes:
        status: ``"ok"``, ``"warning"`` (it works, and something is to be known) or ``"missing"``.
        what: was looked at.
        found: what is there, or what is not and for what it is needed.
        remedy: what to do, as a person would type it; empty where there is nothing to do.
        needed: whether nothing works without it, or it was asked for by an option.
    """

    status: Status
    what: str
    found: str
    remedy: str = ""
    needed: bool = False

    @property
    def fails(self) -> bool:
        """Whether it makes the whole fail."""
        return self.needed and self.status == "missing"


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes:
        what: in a word or two.
        look: gives the answers.
        needed: as of an answer, where the check itself fails.
        seconds: after which it is given up.
        apart: whether it works in a process of its own, so that others need not wait for it.
    """

    what: str
    look: Callable[[], list[Answer]]
    needed: bool = False
    seconds: float = 20
    apart: bool = False


class Looking:
    """A check under way, in a thread of its own that ends with the process."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.answers: list[Answer] | None = None
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        check = self.check
        try:
            self.answers = check.look()
        except Exception as error:  # a doctor does not fall ill
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.answers = [Answer("missing", check.what, reason, needed=check.needed)]

    def wait(self) -> list[Answer]:
        """What it found; that it gave no answer, where it takes too long."""
        self.thread.join(self.check.seconds)
        if self.answers is not None:
            return self.answers
        told = f"no answer in {self.check.seconds:.0f} s"
        return [Answer("missing", self.check.what, told, needed=self.check.needed)]
