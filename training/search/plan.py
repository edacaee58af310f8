"""Which trial is next: those that were interrupted, then new draws, until the budget is spent."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from training.search.ledger import Ledger, Trial, numbers
from training.search.sampler import Sampler

SPEND_SECONDS = 10  # between two notes of the time: what a crash does not count


class Plan:
    """Hands trials out and takes outcomes in; what it knows is in the ledger before it counts.

    Args:
        ledger: of the search; its running trials go on first.
        sampler: draws new ones.
        trials: how many there may be, those of the ledger included.
        minutes: that the search may take, those it has taken included; None for any.
    """

    def __init__(
        self, ledger: Ledger, sampler: Sampler, trials: float, minutes: float | None = None
    ) -> None:
        self.ledger, self.sampler = ledger, sampler
        self.budget, self.minutes = trials, minutes
        self.trials = {trial.number: trial for trial in ledger.read()}
        self.waiting = deque(t for t in self.trials.values() if not t.ended)
        self.fresh = numbers(list(self.trials.values()))
        for trial in self.trials.values():
            (sampler.learn if trial.ended else sampler.expect)(trial)
        self.exhausted = False
        self.before, self.began, self.noted = ledger.minutes(), time.monotonic(), time.monotonic()

    @property
    def ended(self) -> list[Trial]:
        """Trials of which nothing more will come."""
        return [trial for trial in self.trials.values() if trial.ended]

    @property
    def spent(self) -> float:
        """Minutes that the search has taken, over all commands."""
        return self.before + (time.monotonic() - self.began) / 60

    @property
    def late(self) -> bool:
        """Whether its minutes are over."""
        return self.minutes is not None and self.spent >= self.minutes

    @property
    def over(self) -> bool:
        """Whether no trial will begin any more."""
        return self.late or not (self.waiting or self._room)

    @property
    def _room(self) -> bool:
        return len(self.trials) < self.budget and not self.exhausted

    def next(self) -> Trial | None:
        """The trial to begin or to go on with; None if there is none any more."""
        if self.over:
            return None
        if self.waiting:
            return self.waiting.popleft()
        number = next(self.fresh)
        params = self.sampler.ask(number)
        if params is None:
            self.exhausted = True
            return None
        return self.keep(Trial(number, params))

    def keep(self, trial: Trial) -> Trial:
        """Note what is known of a trial."""
        self.ledger.write(trial)
        self.trials[trial.number] = trial
        return trial

    def end(self, trial: Trial) -> Trial:
        """Take in the outcome of a trial."""
        if trial.status != "failed" and trial.best(self.sampler.objective) is None:
            reason = f"{self.sampler.objective.metric} was never a finite number"
            trial = replace(trial, status="failed", reason=reason)
        self.keep(trial)
        self.sampler.tell(trial)
        self.ledger.store.remove(self.ledger.checkpoint(trial.number))
        return trial

    def note_time(self, force: bool = False) -> None:
        """Keep the minutes taken so far, now and then."""
        if force or time.monotonic() - self.noted > SPEND_SECONDS:
            self.noted = time.monotonic()
            self.ledger.spend(self.spent)
