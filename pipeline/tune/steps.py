"""The steps of a search: a plan over a config's ranges, carried out, and what came of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.commands.progress import Bar
from pipeline.config.config import checked, written
from pipeline.environment import Workplace
from pipeline.experiment import Tracked, experiment
from pipeline.steps import Run
from pipeline.tune.checks import check_population, objective_of, searched_model, space_of
from pipeline.tune.ranges import with_params
from training.jobs import TrainingJob
from training.search.ledger import Ledger, Trial, best_of
from training.search.plan import Plan
from training.search.sampler import Sampler
from training.search.settings import Objective, Tuning
from training.search.space import Params, Space
from training.search.work import Work
from training.tracking import Tracking
from training.tracking.store import shown
from training.tracking.trials import TrackedTrials
from zoo_gen import Store, TrainingError
from zoo_gen.recipe.recipe import hash8


@dataclass(frozen=True)
class Maker:
    """Makes a trial's work of its values. Travels to workers.

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

    def __call__(self, params: Params) -> Work:
        """The job with these values, and its zoo's recipe where that changes."""
        config = checked(with_params(self.plain, self.space, params))
        if self.changes_zoo:
            run = Run(config, "", Workplace(self.store))
            return Work(run.jobs[0], run.recipe, run.signals)
        model = config.models[self.job.model]
        return Work(replace(self.job, network=model.network, training=model.training))


class Search(Tracked):
    """A search at a workplace.

    Args:
        plain: the config without ranges.
        space: all ranges of the config.
        place: where it is done.

    Raises:
        ConfigError: what is wrong with the space or the settings, before anything starts.
    """

    def __init__(self, plain: dict[str, Any], space: Space, place: Workplace) -> None:
        config = checked(plain)
        self.settings: Tuning = config.tune
        self.model = searched_model(config, space)
        self.space = space_of(config, space, self.model)
        self.objective = objective_of(config)
        kept = {k: v for k, v in plain.items() if k not in ("tune", "train_on")}
        self.plain = kept | {"models": {self.model: plain["models"][self.model]}}
        one = self.plain | {"seeds": list(config.seeds[:1])}
        self.run = Run(checked(one), shown(written(plain)), place)
        self.run.require_models()
        self.place = place
        check_population(self.settings, self.space, place.workers_per_model)

    @property
    def changes_zoo(self) -> bool:
        """Whether trials have zoos of their own."""
        return any(d.path[0] != "models" for d in self.space.dimensions)

    @cached_property
    def maker(self) -> Maker:
        """Makes a trial's work."""
        one = self.plain | {"seeds": [self.run.config.seeds[0]]}
        job = self.run.jobs[0]
        return Maker(one, self.space, job, self.place.store, self.changes_zoo)

    @cached_property
    def key(self) -> str:
        """Hash of all that makes it another search; its budget does not."""
        tune = self.settings
        told: dict[str, Any] = {"space": self.space.as_dict(), "default": self.space.default}
        told |= {"job": self.run.jobs[0].settings, "objective": vars(self.objective)}
        told |= {"method": tune.method, "seed": tune.seed}
        if tune.method == "optuna":
            told |= {"min_epochs": tune.min_epochs, "reduction": tune.reduction}
        if tune.method == "population":
            told |= {"interval": tune.interval, "members": tune.budget}
        return hash8(told)

    @property
    def folder(self) -> str:
        """Where it lies below the root."""
        return f"searches/{self.run.config.name}-{self.key}"

    @cached_property
    def ledger(self) -> Ledger:
        """Its trials on disk."""
        return Ledger(self.place.store, self.folder)

    @cached_property
    def tracking(self) -> Tracking:
        """The search's run in MLflow."""
        tune = self.settings
        params: dict[str, Any] = {"model": self.model, "method": tune.method, "seed": tune.seed}
        params |= {"metric": self.objective.metric, "zoo": self.run.facts.folder}
        params |= {f"space.{key}": value for key, value in self.space.as_dict().items()}
        title = f"tune {self.run.config.name} {self.model}"
        return experiment(self.run.config, self.place).with_parent(
            title, f"tune-{self.key}", params, self.run.text
        )

    def carry_out(self, retry: bool = False) -> list[Trial]:
        """Run trials until the budget is spent; all trials of the search that have ended.

        Args:
            retry: whether trials that had failed begin again.

        Raises:
            TrainingError: all failed.
        """
        tune = self.settings
        if retry:
            for trial in self.ledger.read():
                if trial.status == "failed":
                    self.ledger.write(Trial(trial.number, trial.params))
        sampler = Sampler(self.space, self.objective, tune.method == "optuna", tune.seed)
        plan = Plan(self.ledger, sampler, tune.budget, tune.minutes)
        self._say_state(plan)
        children = TrackedTrials(self.tracking, self.model, self.objective)
        known = children.known()
        for trial in plan.ended:
            if trial.number not in known:
                children.put(trial, [])
        if not plan.over:
            if not self.changes_zoo:
                self.run.generate()
            self._run_trials(plan, children)
        ended = sorted(plan.ended, key=lambda t: t.number)
        best = best_of(ended, self.objective)
        children.close(best)
        if best is None:
            raise TrainingError(_why(ended))
        return ended

    def _say_state(self, plan: Plan) -> None:
        done, going = len(plan.ended), len(plan.waiting)
        if done or going:
            goes_on = f", {going} go on where they stopped" if going else ""
            self.place.say(
                f"search {self.run.config.name}-{self.key}: {done} trials are there{goes_on}"
            )

    def _run_trials(self, plan: Plan, children: TrackedTrials) -> None:
        from training.search.ray_trial import Bench
        from training.search.ray_tune import search

        tune, place = self.settings, self.place
        _ = place.cpus  # starts or joins Ray
        workers, population = place.workers_per_model, tune.method == "population"
        share = (tune.cpus, tune.gpus, workers)
        bench = Bench(place.store, self.folder, self.maker, self.objective, population, *share)
        if place.address is None:
            bench.require_room()
        budget = int(tune.budget) if math.isfinite(tune.budget) else 0
        title = f"searching {self.run.config.name} {self.model}"
        with Bar(place.console, title, budget or len(plan.trials), "trials") as bar:

            def told(trial: Trial, records: list[dict[str, float]]) -> None:
                children.put(trial, records)
                if trial.status == "failed":
                    bar.say(f"trial {trial.number} failed: {trial.reason} ({trial.text()})")

            def progress() -> None:
                best = best_of(plan.ended, self.objective)
                note = f"best {told_value(self.objective, best)}" if best is not None else ""
                bar.update(len(plan.ended), note)

            search(plan, bench, self.space, tune, self._epochs, told, progress)
            progress()

    @property
    def _epochs(self) -> int:
        """Of the longest trial."""
        key = f"models.{self.model}.training.epochs"
        ranges = [d.range.extremes for d in self.space.dimensions if d.key == key]
        own = self.run.config.models[self.model].training.epochs
        return int(max(itertools.chain(*ranges), default=own))

    def short(self, key: str) -> str:
        """A key without what all keys of the searched model begin with."""
        own = key.removeprefix(f"models.{self.model}.")
        return own.removeprefix("training.").removeprefix("network.")

    def best_config(self, best: Trial) -> dict[str, Any]:
        """The config of the search with the best trial's values, as `dwszoo train` takes it."""
        return with_params(self.plain, self.space, best.params)


def told_value(objective: Objective, trial: Trial) -> str:
    """A trial's value, for people."""
    value = trial.best(objective)
    return "–" if value is None else f"{objective.metric} {value:.4g} (trial {trial.number})"


def _why(trials: list[Trial]) -> str:
    """Of trials that all failed."""
    if not trials:
        return "the search ended before any trial had an epoch; give it more tune.minutes"
    reasons: dict[str, int] = {}
    for trial in trials:
        reasons[trial.reason] = reasons.get(trial.reason, 0) + 1
    most = max(reasons, key=lambda r: reasons[r])
    return (
        f"all {len(trials)} trials failed, {reasons[most]} of them so: {most}; mend that or the "
        "ranges, then run the same command with --retry-failed"
    )
