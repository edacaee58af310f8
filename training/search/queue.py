"""The trials to run: first those that were interrupted, then new ones until the budget is spent."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from itertools import count

from training.search.sampler import Sampler
from training.search.trials import Trial, TrialStore

CLOCK_SECONDS = 10  # between two records of the time taken: what a crash does not count


class TrialQueue:
    """Gives out trials and takes in their results; each is on disk before it counts.

    Args:
        store: the record of the search; its running trials are continued first.
        sampler: draws new ones.
        budget: how many trials there may be, those of the record included.
        minutes: that the search may take, those of earlier commands included; None for any.
    """

    def __init__(
        self, store: TrialStore, sampler: Sampler, budget: float, minutes: float | None = None
    ) -> None:
        self.store, self.sampler = store, sampler
        self.budget, self.minutes = budget, minutes
        self.trials = {trial.number: trial for trial in store.read()}
        self.interrupted = deque(t for t in self.trials.values() if not t.ended)
        self.exhausted = False
        self.before, self.began, self.noted = store.minutes(), time.monotonic(), time.monotonic()

    @property
    def ended(self) -> list[Trial]:
        """Trials that are over, by number."""
        return [self.trials[n] for n in sorted(self.trials) if self.trials[n].ended]

    @property
    def minutes_taken(self) -> float:
        """Minutes that the search has taken, over all commands."""
        return self.before + (time.monotonic() - self.began) / 60

    @property
    def out_of_time(self) -> bool:
        """Whether its minutes are over."""
        return self.minutes is not None and self.minutes_taken >= self.minutes

    @property
    def empty(self) -> bool:
        """Whether no further trial will begin."""
        more = len(self.trials) < self.budget and not self.exhausted
        return self.out_of_time or not (self.interrupted or more)

    def next(self) -> Trial | None:
        """The trial to begin or to continue; None if there is none any more."""
        if self.empty:
            return None
        if self.interrupted:
            return self.interrupted.popleft()
        number = next(n for n in count() if n not in self.trials)
        params = self.sampler.draw(number, self.trials.values())
        if params is None:
            self.exhausted = True
            return None
        return self._record(Trial(number, params))

    def end(self, trial: Trial) -> Trial:
        """Record the result of a trial; one whose metric was never finite has failed."""
        if trial.status != "failed" and trial.best(self.sampler.objective) is None:
            reason = f"{self.sampler.objective.metric} was never a finite number"
            trial = replace(trial, status="failed", reason=reason)
        self._record(trial)
        self.store.store.remove(self.store.checkpoint(trial.number))
        return trial

    def record_time(self, force: bool = False) -> None:
        """Record the minutes taken, at most every few seconds unless forced."""
        if force or time.monotonic() - self.noted > CLOCK_SECONDS:
            self.noted = time.monotonic()
            self.store.write_minutes(self.minutes_taken)

    def _record(self, trial: Trial) -> Trial:
        self.store.write(trial)
        self.trials[trial.number] = trial
        return trial
