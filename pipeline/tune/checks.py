"""What a search of a config means, told before anything starts: which model, ranges and metric."""

from __future__ import annotations

from pipeline.config.config import Config
from pipeline.config.messages import nearest
from training.search.settings import Objective, Tuning
from training.search.space import Space
from zoo_gen import ConfigError

CHANGED_BY_A_POPULATION = ("training.learning_rate", "training.weight_decay", "training.augment.")


def searched_model(config: Config, space: Space) -> str:
    """The model that is searched.

    Raises:
        ConfigError: there is none of this name, or nothing to search, or several could be meant.
    """
    own = list(dict.fromkeys(str(d.path[1]) for d in space.dimensions if d.path[0] == "models"))
    names, asked = list(config.models), config.tune.model
    if asked is not None and asked not in names:
        raise ConfigError(
            f"tune.model: got {asked}{nearest(asked, names)}; the config has {', '.join(names)}"
        )
    if not space.dimensions:
        raise ConfigError(
            f"tune: there is nothing to search: no value of {config.name} is a range; write one in "
            "the place of a value, such as --set 'models."
            f"{asked or next(iter(names), 'NAME')}.training.learning_rate="
            "{log_uniform: [0.0001, 0.01]}'"
        )
    candidates = own or names
    if asked is None and len(candidates) != 1:
        raise ConfigError(
            f"tune.model: missing; {'ranges vary' if own else 'the config has'} "
            f"{', '.join(candidates) or 'no model'}; name one, such as --set "
            f"tune.model={next(iter(candidates), 'NAME')}"
        )
    return asked or candidates[0]


def space_of(config: Config, space: Space, model: str) -> Space:
    """Ranges of this model and of the zoo.

    Raises:
        ConfigError: there are none.
    """
    mine = tuple(d for d in space.dimensions if d.path[0] != "models" or d.path[1] == model)
    if not mine:
        others = ", ".join(d.key for d in space.dimensions)
        raise ConfigError(
            f"tune.model: got {model}, but no value of it is a range; the ranges are {others}"
        )
    return Space(mine)


def objective_of(config: Config) -> Objective:
    """What is made best.

    Raises:
        ConfigError: a metric that no training reports, or one of test data.
    """
    task, asked = config.task_or_default, config.tune.metric
    known = {f"val_{m.name}": m.greater for m in task.metrics} | {"val_loss": False}
    name = asked or f"val_{task.main.name}"
    if name not in known:
        why = " (a search sees validation data alone)" if name.startswith("test") else ""
        raise ConfigError(
            f"tune.metric: got {name}{why or nearest(name, list(known))}; a {task.kind} training "
            f"reports {', '.join(known)}"
        )
    return Objective(name, known[name])


def check_population(settings: Tuning, space: Space, workers: int) -> None:
    """Raise `ConfigError` for what a population cannot do."""
    if settings.method != "population":
        return
    for dimension in space.dimensions:
        inner = ".".join(map(str, dimension.path[2:]))
        if dimension.path[0] != "models" or not inner.startswith(CHANGED_BY_A_POPULATION):
            raise ConfigError(
                f"{dimension.key}: a population changes values while models train, and this one "
                "cannot change; it can vary training.learning_rate, training.weight_decay and "
                "training.augment; or use tune.method optuna"
            )
    if workers > 1:
        raise ConfigError(
            f"--workers-per-model: got {workers}, but members of a population train on one worker "
            "each; or use tune.method optuna"
        )
