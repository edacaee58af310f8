"""Results of a config that were made with other settings, and the options that report them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pipeline.config.config import from_plain
from pipeline.config.files import parse_yaml
from pipeline.experiment import Experiment, connect_tracking
from training import results
from zoo_gen import DwszooError

LATEST = 5  # runs that are looked at
NO_SETTINGS = ("description", "tracking", "tune")  # change no result


def options_to_others(experiment: Experiment) -> str | None:
    """What to change in a command to report the latest of them; None where there are none."""
    config = experiment.config
    folders = experiment.environment.store.names("models")
    if not any(name.startswith(f"{config.name}-") for name in folders):
        return None
    with suppress(DwszooError):  # a problem here is not what the user asked about
        for text in connect_tracking(config, experiment.environment).configs(LATEST):
            if text != experiment.text and _trained(text, experiment):
                return _options(*(_settings(parse_yaml(t)) for t in (experiment.text, text)))
    return None


def _trained(text: str, experiment: Experiment) -> bool:
    """Whether every model of another config has a result here."""
    with suppress(DwszooError):
        environment = experiment.environment
        other = Experiment(from_plain(parse_yaml(text)), text, environment)
        return all(results.done(environment.store, job) for job in other.jobs)
    return False


def _settings(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in NO_SETTINGS}


def _options(here: dict[str, Any], there: dict[str, Any]) -> str:
    """Options that lead from one config to another, in a sentence."""
    options, dropped = [], []
    for key, value in _changes(here, there):
        if value is None:
            dropped.append(key)
        elif key == "limit":
            options.append(f"--limit {value}")
        else:
            options.append(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}")
    parts = [f"add `{' '.join(options)}`"] if options else []
    return " and ".join([*parts, *([f"leave out {', '.join(dropped)}"] if dropped else [])])


def _changes(here: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Key and new value of each difference, None of a key that is to go; no deeper than needed."""
    for key in dict.fromkeys((*there, *here)):
        old, new = here.get(key), there.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys():
            yield from ((f"{key}.{sub}", value) for sub, value in _changes(old, new))
        elif old != new:
            yield key, new
