"""Whether the models of a config can learn its task on its zoo, checked before hours of fitting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pipeline.config.builtin import built_in_configs
from pipeline.config.config import Config
from pipeline.config.files import nearest, read_config
from pipeline.zoo_facts import ZooFacts, configs_with
from training.data import canonical
from training.tasks import PredictAccuracy, Task, TaskData
from zoo_gen import ConfigError, Signals, TrainingError, Zoo
from zoo_gen.recipe.split import SPLITS
from zoo_gen.zoo.shards import CONTRACT


def check_signals(config: Config, zoo: Zoo, signals: Signals, whole: Callable[[], Signals]) -> None:
    """Raise unless networks of these signals, split as they will be, can teach the task.

    Args:
        config: its limit is named in the message.
        zoo: how networks are fitted; classifiers are not of single signals and pass.
        signals: limited.
        whole: gives the signals without a limit, of which more may be enough.
    """
    task, limit = config.task_or_default, config.limit
    problem = _problem(task, zoo, signals)
    if problem is None:
        return
    if limit is not None:
        source = whole()
        while limit < len(source):
            limit = min(2 * limit, len(source))
            if _problem(task, zoo, source.limited(limit)) is None:
                raise ConfigError(f"{problem}: --limit {limit} is enough") from problem
    raise problem


def _problem(task: Task, zoo: Zoo, signals: Signals) -> ConfigError | TrainingError | None:
    """Why the task cannot be learned from networks of these signals, as far as labels show."""
    if not zoo.fit.per_signal:
        return None
    try:
        split = zoo.split.assign(signals)
        rows = {name: torch.from_numpy(np.flatnonzero(split == name)) for name in SPLITS}
        if all(name in signals.columns for name in task.needs):
            task.targets(f"{len(signals):,} signals", dict(signals.columns), rows)
    except (ConfigError, TrainingError) as error:
        return error
    return None


def check_models(config: Config, facts: ZooFacts) -> None:
    """Raise `ConfigError` unless there are models that these networks can train.

    Every model is built once and every augmentation is tried on two networks of zeros.
    """
    if not config.models:
        raise ConfigError(
            f"models: {config.name} has none, its zoo is all that it makes; "
            "`dwszoo generate` makes it, `dwszoo inspect` shows it"
        )
    check_columns(config.task_or_default, facts, named=config.task is not None)
    config.task_or_default.check_fit(None if config.zoo is None else config.zoo.fit)
    data = TaskData.blank(
        facts.space, config.task_or_default, facts.classes or 2, facts.forward_pass
    )
    for name, model in config.models.items():
        try:
            data.task.build(model.network, data)
            data.task.check_augmentation(model.training.augment)
            model.training.augment.check(data.space, data.forward_pass)
            if model.training.prepare not in ("none", "align"):
                canonical(data.space, data.forward_pass, model.training.prepare)
        except ConfigError as error:
            raise ConfigError(f"models.{name}: {error}") from error


def check_columns(task: Task, facts: ZooFacts, named: bool) -> None:
    """Raise `ConfigError` where the zoo lacks a column of the task; names configs that have it.

    Args:
        named: whether the config names the task, or it is the default.
    """
    lacking = [name for name in task.needs if name not in facts.columns]
    if not lacking:
        return
    others = configs_with(task.needs, {name: read_config(name) for name in built_in_configs()})
    have = f"built-in configs whose zoos have it: {', '.join(others)}" if others else ""
    own = [name for name in facts.columns if name not in CONTRACT]
    meant = nearest(lacking[0], own)
    hint = f"{{kind: regress, columns: [{own[0] if own else 'NAME'}]}}"
    if PredictAccuracy().column in own:
        hint = "{kind: predict-accuracy}"
    raise ConfigError(
        f"task: {task.kind}{'' if named else ' (the default)'} learns the column"
        f"{'s' if len(task.needs) > 1 else ''} {', '.join(task.needs)}, but the zoo "
        f"{facts.name} has no {' and no '.join(lacking)}{meant}; of its own it has "
        f"{', '.join(own) or 'no column'}. Name another task, such as {hint}, or remove the models "
        f"to make the zoo alone{'; ' + have if have else ''}"
    )
