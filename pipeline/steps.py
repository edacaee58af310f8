"""The steps of a run. Each is content-addressed: what is done is found by its hash and skipped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property

from pipeline.commands.progress import Bar
from pipeline.config.config import Config
from pipeline.environment import Workplace
from pipeline.experiment import Tracked, experiment
from pipeline.zoo_facts import ZooFacts, ZooPath
from training import results
from training.jobs import TrainingJob
from training.settings import Training
from training.tracking import Tracking
from training.tracking.store import shown
from zoo_gen import (
    ConfigError,
    Generated,
    LocalEngine,
    Recipe,
    Signals,
    Source,
    Zoo,
    generate,
)
from zoo_gen.make.generate import Engine
from zoo_gen.recipe.recipe import hash8
from zoo_gen.zoo.layout import missing_shards


@dataclass
class Run(Tracked):
    """A config at a workplace.

    Attributes:
        config: what is asked for.
        text: its YAML, for the record.
        place: where it is done.
    """

    config: Config
    text: str
    place: Workplace

    @cached_property
    def signals(self) -> Signals:
        """The signals that the networks are made from; read once."""
        source, zoo = self._made
        return zoo.fit.visible(source.load(), self.config.limit)

    @cached_property
    def recipe(self) -> Recipe:
        """Of a zoo that is made here."""
        config, (source, zoo) = self.config, self._made
        return Recipe.of(config.zoo_of or config.name, source, self.signals, zoo, config.limit)

    @property
    def _made(self) -> tuple[Source, Zoo]:
        """Signals and how networks are fitted to them."""
        source, zoo = self.config.source, self.config.zoo
        if isinstance(source, ZooPath) or zoo is None:
            raise ConfigError(f"source: {self.config.name} takes a zoo that is there")
        return source, zoo

    @cached_property
    def facts(self) -> ZooFacts:
        """What is known of the zoo, made here or there already."""
        if isinstance(self.config.source, ZooPath):
            return ZooFacts.found(self.place.store, self.config.source.path)
        return ZooFacts.planned(self.recipe, self.signals)

    @property
    def zoo_url(self) -> str:
        """Where the zoo lies."""
        folder = self.facts.folder
        elsewhere = folder.startswith("/") or "://" in folder
        return folder if elsewhere else self.place.store.url(folder)

    @cached_property
    def jobs(self) -> list[TrainingJob]:
        """Every model with every seed, on every number of training networks."""
        config, facts = self.config, self.facts
        return [
            TrainingJob(
                config.name,
                name,
                model.network,
                model.training,
                seed,
                facts.folder,
                config.task_or_default,
                networks,
                facts.hash8,
                None if isinstance(config.source, ZooPath) else config.source,
            )
            for name, model in config.models.items()
            for networks in (config.train_on or (None,))
            for seed in config.seeds
        ]

    @property
    def key(self) -> str:
        """Hash of everything that changes what the run reports."""
        return hash8({"zoo": self.facts.hash8, "jobs": [job.hash8 for job in self.jobs]})

    @cached_property
    def tracking(self) -> Tracking:
        """The parent run in MLflow; the store and the run are made at the first use."""
        params = asdict(self.config) | {"tracking": None}  # whose address may hold a password
        params |= {"zoo_folder": self.facts.folder, "members": self.facts.members}
        found = experiment(self.config, self.place)
        self.continued = found.find(self.key) is not None
        return found.with_parent(self.config.name, self.key, params, self.text)

    def generate(self) -> Generated:
        """Fit what is missing of the zoo; nothing of one that is there."""
        place = self.place
        if isinstance(self.config.source, ZooPath):
            facts = self.facts
            place.say(f"zoo {facts.name}-{facts.hash8}: {facts.members:,} networks are there")
            return Generated(facts.folder, facts.members)
        recipe = self.recipe
        zoo, title = (place.store, recipe, self.signals), f"zoo {recipe.name}-{recipe.hash8}"
        missing = missing_shards(place.store, recipe)
        if not missing:
            generated = generate(*zoo, LocalEngine())
            place.say(f"{title}: {recipe.members:,} networks are there")
            return generated
        place.store.check_writable()
        engine: Engine = LocalEngine()
        # a process for a single shard starts more slowly than most such shards are fitted
        if place.engine == "ray" and (place.address or len(missing) > 1):
            from zoo_gen.make.ray_engine import RayEngine

            _ = place.cpus  # starts or joins Ray; a cluster may begin with no CPU at all
            engine = RayEngine(place.workers if place.address else None)
        with Bar(place.console, f"fitting {title}", recipe.members, "networks") as bar:
            generated = generate(*zoo, engine, bar.update, place.fitting)
        if generated.diverged:
            place.say(f"{title}: {generated.diverged:,} diverged; training leaves them out")
        return generated

    def require_models(self) -> None:
        """Raise unless there are models that these networks can train."""
        from pipeline.preflight import check_models, check_signals

        if self.config.models and not isinstance(self.config.source, ZooPath):
            source, zoo = self._made
            check_signals(self.config, zoo, self.signals, source.load)
        check_models(self.config, self.facts)

    def train(self) -> None:
        """Train the models that have no result, and track those that the MLflow store lacks.

        Raises:
            ConfigError: there are none, or they cannot learn the task on this zoo.
        """
        from training import train_job

        self.require_models()

        place, store = self.place, self.place.store
        pending = [job for job in self.jobs if not results.done(store, job)]
        finished = len(self.jobs) - len(pending)
        if pending:
            # before workers start: an incomplete or corrupt zoo is told here, in one line
            train_job.job_data(store, replace(pending[0], networks=None, training=Training()))
        tracking = self.tracking
        done = [job for job in self.jobs if job not in pending]
        for job in done:
            if tracking.find(job.hash8, finished=True) is None:
                train_job.track_again(store, job, tracking)
                place.say(f"{job.title}: trained before, now tracked in {shown(tracking.uri)}")
        if not pending:
            place.say(f"models: all {finished} are trained")
            return
        epochs = {job.hash8: 0 for job in pending}
        total = sum(job.training.epochs for job in pending)
        kept = f", {finished} were trained before" if finished else ""
        models = f"{len(pending)} model{'s' if len(pending) > 1 else ''}"
        with Bar(place.console, f"training {models}{kept}", total, "epochs") as bar:

            def tell(job: TrainingJob, epoch: int, record: dict[str, float]) -> None:
                epochs[job.hash8] = epoch
                main = job.task.main
                value = f"{main.text([record[f'val_{main.name}']])} {main.unit}".rstrip()
                note = f"{job.title}: validation {main.title} {value}"
                bar.update(sum(epochs.values()), note)

            bar.update(0)
            if place.engine == "ray":
                from training.ray_engine import train_on_ray

                workers, cpus = place.workers, place.cpus
                if place.address is None:  # a cluster may grow to what is asked for, this Ray not
                    workers = min(workers or cpus, cpus)
                    if place.workers_per_model > workers:
                        raise ConfigError(
                            f"--workers-per-model: got {place.workers_per_model}, but there are "
                            f"{workers} worker(s) here; ask for at most that many"
                        )
                train_job.forget_zoos()  # the workers read their own
                train_on_ray(store, self.jobs, tracking, tell, workers, place.workers_per_model)
            else:
                from training.local_engine import train_locally

                train_locally(store, pending, tracking, tell)
            bar.update(total)
