"""Results of a config that were made with other settings, and the options that lead to them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pipeline.config.config import loaded, read_back
from pipeline.experiment import experiment
from pipeline.steps import Run
from training import results
from zoo_gen import DwszooError

LATEST = 5  # runs that are looked at
NO_SETTINGS = ("description", "tracking", "tune")  # change no result


def way_to_others(run: Run) -> str | None:
    """What to change in a command to report the latest of them; None where there are none."""
    folders = run.place.store.names("models")
    if not any(name.startswith(f"{run.config.name}-") for name in folders):
        return None
    with suppress(DwszooError):  # what hinders this is no answer to what was asked
        for text in experiment(run.config, run.place).configs(LATEST):
            if text != run.text and _trained(text, run):
                return _way(*(_settings(read_back(t)) for t in (run.text, text)))
    return None


def _trained(text: str, run: Run) -> bool:
    """Whether every model of another config has a result here."""
    with suppress(DwszooError):
        other = Run(loaded(read_back(text)), text, run.place)
        return all(results.done(run.place.store, job) for job in other.jobs)
    return False


def _settings(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in NO_SETTINGS}


def _way(here: dict[str, Any], there: dict[str, Any]) -> str:
    """From one config to another, in words and options."""
    options, dropped = [], []
    for key, value in _changes(here, there):
        if value is None:
            dropped.append(key)
        elif key == "limit":
            options.append(f"--limit {value}")
        else:
            options.append(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}")
    told = [f"add `{' '.join(options)}`"] if options else []
    return " and ".join([*told, *([f"leave out {', '.join(dropped)}"] if dropped else [])])


def _changes(here: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Key and new value of each difference, None of a key that is to go; no deeper than needed."""
    for key in dict.fromkeys((*there, *here)):
        old, new = here.get(key), there.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys():
            yield from ((f"{key}.{sub}", value) for sub, value in _changes(old, new))
        elif old != new:
            yield key, new
