"""A hyper-parameter search over the ranges of a config, from its checks to its best trial."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.config.config import Config, checked
from pipeline.config.files import format_yaml, nearest
from pipeline.config.ranges import with_params
from pipeline.environment import Environment
from pipeline.experiment import Experiment, TrackedRun, connect_tracking
from pipeline.progress import Bar
from pipeline.steps import check_models, generate_zoo
from training.jobs import TrainingJob
from training.search.queue import TrialQueue
from training.search.sampler import Sampler
from training.search.settings import Objective, Tuning
from training.search.space import Params, Space
from training.search.trials import Trial, TrialStore, best_of
from training.tracking import Tracking
from training.tracking.store import shown
from training.tracking.trials import TrackedTrials
from zoo_gen import ConfigError, Store, TrainingError
from zoo_gen.recipe.recipe import hash8


class Search(TrackedRun):
    """A search.

    Args:
        plain: the config without ranges.
        space: all ranges of the config.
        environment: where it runs.

    Raises:
        ConfigError: what is wrong with the space or the settings, before anything starts.
    """

    def __init__(self, plain: dict[str, Any], space: Space, environment: Environment) -> None:
        config = checked(plain)
        self.settings: Tuning = config.tune
        self.model = searched_model(config, space)
        self.space = space_of(space, self.model)
        self.objective = objective_of(config)
        kept = {k: v for k, v in plain.items() if k not in ("tune", "train_on")}
        self.plain = kept | {"models": {self.model: plain["models"][self.model]}}
        self.one_job = self.plain | {"seeds": list(config.seeds[:1])}
        self.experiment = Experiment(checked(self.one_job), shown(format_yaml(plain)), environment)
        check_models(self.experiment)
        self.environment = environment

    @property
    def changes_zoo(self) -> bool:
        """Whether trials have zoos of their own."""
        return any(d.path[0] != "models" for d in self.space.dimensions)

    @cached_property
    def work_of(self) -> WorkOfTrial:
        """The work of a trial from its values."""
        job, store = self.experiment.jobs[0], self.environment.store
        return WorkOfTrial(self.one_job, self.space, job, store, self.changes_zoo)

    @cached_property
    def key(self) -> str:
        """Hash of all that makes it another search; its budget does not."""
        tune = self.settings
        plain: dict[str, Any] = {"space": self.space.as_dict(), "default": self.space.default}
        plain |= {"job": self.experiment.jobs[0].settings, "objective": vars(self.objective)}
        plain |= {"method": tune.method, "seed": tune.seed}
        if tune.method == "optuna":
            plain |= {"min_epochs": tune.min_epochs, "reduction": tune.reduction}
        return hash8(plain)

    @property
    def folder(self) -> str:
        """Where it is stored below the root."""
        return f"searches/{self.experiment.config.name}-{self.key}"

    @cached_property
    def trials(self) -> TrialStore:
        """Its trials on disk."""
        return TrialStore(self.environment.store, self.folder)

    @cached_property
    def tracking(self) -> Tracking:
        """The search's run in MLflow."""
        tune = self.settings
        params: dict[str, Any] = {"model": self.model, "method": tune.method, "seed": tune.seed}
        params |= {"metric": self.objective.metric, "zoo": self.experiment.facts.folder}
        params |= {f"space.{key}": value for key, value in self.space.as_dict().items()}
        title = f"tune {self.experiment.config.name} {self.model}"
        return connect_tracking(self.experiment.config, self.environment).with_parent(
            title, f"tune-{self.key}", params, self.experiment.text
        )

    def carry_out(self, retry: bool = False) -> list[Trial]:
        """Run trials until the budget is spent; all trials of the search that have ended.

        Args:
            retry: whether trials that had failed begin again.

        Raises:
            TrainingError: all failed.
        """
        tune = self.settings
        for trial in self.trials.read():
            if retry and trial.status == "failed":
                self.trials.write(Trial(trial.number, trial.params))
        sampler = Sampler(self.space, self.objective, tune.method == "optuna", tune.seed)
        queue = TrialQueue(self.trials, sampler, tune.budget, tune.minutes)
        self._say_state(queue)
        # the store of MLflow and Ray each take seconds to open
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(lambda: self.tracking)
            if not queue.empty:
                _ = self.environment.cpus  # starts or joins Ray
            children = TrackedTrials(opened.result(), self.model, self.objective)
        known = children.known()
        for trial in queue.ended:
            if trial.number not in known:
                children.put(trial, [])
        if not queue.empty:
            if not self.changes_zoo:
                generate_zoo(self.experiment)
            self._run_trials(queue, children)
        best = best_of(queue.ended, self.objective)
        children.close(best)
        if best is None:
            raise TrainingError(_all_failed(queue.ended))
        return queue.ended

    def _say_state(self, queue: TrialQueue) -> None:
        done, interrupted = len(queue.ended), len(queue.interrupted)
        if done or interrupted:
            continued = f", {interrupted} continue where they stopped" if interrupted else ""
            name = f"{self.experiment.config.name}-{self.key}"
            self.environment.echo(f"search {name}: {done} trials are finished{continued}")

    def _run_trials(self, queue: TrialQueue, children: TrackedTrials) -> None:
        from training.search.ray_tune import search
        from training.search.ray_worker import TrialRunner

        tune, environment = self.settings, self.environment
        runner = TrialRunner(
            environment.store,
            self.folder,
            self.work_of,
            self.objective,
            tune.cpus,
            tune.gpus,
            environment.workers_per_model,
        )
        if environment.address is None:
            runner.require_room()
        budget = int(tune.budget) if math.isfinite(tune.budget) else len(queue.trials)
        title = f"searching {self.experiment.config.name} {self.model}"
        with Bar(environment.console, title, budget, "trials") as bar:

            def on_end(trial: Trial, records: list[dict[str, float]]) -> None:
                children.put(trial, records)
                if trial.status == "failed":
                    bar.say(f"trial {trial.number} failed: {trial.reason} ({trial.text()})")

            def progress() -> None:
                best = best_of(queue.ended, self.objective)
                value = None if best is None else best.best(self.objective)
                note = f"best {self.objective.metric} {value:.4g}" if value is not None else ""
                number = f" (trial {best.number})" if best is not None else ""
                bar.update(len(queue.ended), note + number)

            search(queue, runner, tune, self._epochs, self.space.default, on_end, progress)
            progress()

    @property
    def _epochs(self) -> int:
        """Of the longest trial."""
        key = f"models.{self.model}.training.epochs"
        ranges = [d.range.extremes for d in self.space.dimensions if d.key == key]
        own = self.experiment.config.models[self.model].training.epochs
        return int(max(itertools.chain(*ranges), default=own))

    def short(self, key: str) -> str:
        """A key without the part that all keys of the searched model begin with."""
        own = key.removeprefix(f"models.{self.model}.")
        return own.removeprefix("training.").removeprefix("network.")

    def best_config(self, best: Trial) -> dict[str, Any]:
        """The config with the best trial's values, as `dwszoo train` takes it."""
        return with_params(self.plain, self.space, best.params)


@dataclass(frozen=True)
class WorkOfTrial:
    """Makes the work of a trial from its values. Is sent to workers.

    Attributes:
        plain: the config without ranges, with one model and one seed.
        space: of the search.
        job: of that config.
        store: the root.
        changes_zoo: whether trials have zoos of their own.
    """

    plain: dict[str, Any]
    space: Space
    job: TrainingJob
    store: Store
    changes_zoo: bool

    def __call__(self, params: Params) -> Any:
        """The job with these values, and its zoo's recipe where that changes.

        Raises:
            ConfigError: values that do not go together.
        """
        from training.search.ray_worker import Work

        config = checked(with_params(self.plain, self.space, params))
        if self.changes_zoo:
            experiment = Experiment(config, "", Environment(self.store))
            return Work(experiment.jobs[0], experiment.recipe, experiment.signals)
        model = config.models[self.job.model]
        return Work(replace(self.job, network=model.network, training=model.training))


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
            "place of a value, such as --set 'models."
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


def space_of(space: Space, model: str) -> Space:
    """The ranges of this model and of the zoo.

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
    """What is optimised.

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


def _all_failed(trials: list[Trial]) -> str:
    """Why a search has no best trial."""
    if not trials:
        return "the search ended before any trial had an epoch; give it more tune.minutes"
    ((reason, times),) = Counter(trial.reason for trial in trials).most_common(1)
    return (
        f"all {len(trials)} trials failed, {times} of them with: {reason}; fix that or the ranges, "
        "then run the same command with --retry-failed"
    )
