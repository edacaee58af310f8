"""The steps of an experiment. Each is content-addressed: finished work is found by its hash.

check_models    the models can learn the task on this zoo; before hours of fitting
generate_zoo    fit the missing shards of the zoo
train_models    train the missing models, and track those that the MLflow store lacks
"""

from __future__ import annotations

from dataclasses import replace

from pipeline import preflight
from pipeline.experiment import Experiment
from pipeline.progress import Bar
from pipeline.zoo_facts import ZooPath
from training import results
from training.jobs import TrainingJob
from training.settings import Training
from training.tracking.store import shown
from zoo_gen import ConfigError, Generated, LocalEngine, generate
from zoo_gen.make.generate import Engine
from zoo_gen.zoo.layout import missing_shards


def check_models(experiment: Experiment) -> None:
    """Raise unless there are models, and these networks can train them."""
    config = experiment.config
    if config.models and not isinstance(config.source, ZooPath):
        source, zoo = experiment.recipe_parts
        preflight.check_signals(config, zoo, experiment.signals, source.load)
    preflight.check_models(config, experiment.facts)


def generate_zoo(experiment: Experiment) -> Generated:
    """Fit what is missing of the zoo; nothing of an existing one."""
    environment = experiment.environment
    if isinstance(experiment.config.source, ZooPath):
        facts = experiment.facts
        environment.echo(f"zoo {facts.name}-{facts.hash8}: {facts.members:,} networks exist")
        return Generated(facts.folder, facts.members)
    recipe = experiment.recipe
    zoo = (environment.store, recipe, experiment.signals)
    title = f"zoo {recipe.name}-{recipe.hash8}"
    missing = missing_shards(environment.store, recipe)
    if not missing:
        generated = generate(*zoo, LocalEngine())
        environment.echo(f"{title}: {recipe.members:,} networks exist")
        return generated
    environment.store.check_writable()
    engine: Engine = LocalEngine()
    # a process for a single shard starts more slowly than most such shards are fitted
    if environment.engine == "ray" and (environment.address or len(missing) > 1):
        from zoo_gen.make.ray_engine import RayEngine

        _ = environment.cpus  # starts or joins Ray; a cluster may begin with no CPU at all
        engine = RayEngine(environment.workers if environment.address else None)
    with Bar(environment.console, f"fitting {title}", recipe.members, "networks") as bar:
        generated = generate(*zoo, engine, bar.update, environment.fitting)
    if generated.diverged:
        environment.echo(f"{title}: {generated.diverged:,} diverged; training leaves them out")
    return generated


def train_models(experiment: Experiment) -> None:
    """Train the models that have no result, and track those that the MLflow store lacks.

    Raises:
        ConfigError: there are none, or they cannot learn the task on this zoo.
    """
    from training import train_job

    check_models(experiment)
    environment, jobs = experiment.environment, experiment.jobs
    store = environment.store
    pending = [job for job in jobs if not results.done(store, job)]
    finished = [job for job in jobs if job not in pending]
    if pending:
        # before workers start: an incomplete or corrupt zoo is one line here
        train_job.job_data(store, replace(pending[0], networks=None, training=Training()))
    tracking = experiment.tracking
    for job in finished:
        if tracking.find(job.hash8, finished=True) is None:
            train_job.track_again(store, job, tracking)
            environment.echo(f"{job.title}: trained before, now tracked in {shown(tracking.uri)}")
    if not pending:
        environment.echo(f"models: all {len(finished)} are trained")
        return
    epochs = {job.hash8: 0 for job in pending}
    total = sum(job.training.epochs for job in pending)
    kept = f", {len(finished)} were trained before" if finished else ""
    models = f"{len(pending)} model{'s' if len(pending) > 1 else ''}"
    with Bar(environment.console, f"training {models}{kept}", total, "epochs") as bar:

        def on_epoch(job: TrainingJob, epoch: int, record: dict[str, float]) -> None:
            epochs[job.hash8] = epoch
            main = job.task.main
            value = f"{main.text([record[f'val_{main.name}']])} {main.unit}".rstrip()
            note = f"{job.title}: validation {main.title} {value}"
            bar.update(sum(epochs.values()), note)

        bar.update(0)
        if environment.engine == "ray":
            from training.ray_engine import train_on_ray

            workers = _workers(experiment)
            train_job.forget_zoos()  # the workers read their own
            train_on_ray(store, jobs, tracking, on_epoch, workers, environment.workers_per_model)
        else:
            from training.local_engine import train_locally

            train_locally(store, pending, tracking, on_epoch)
        bar.update(total)


def _workers(experiment: Experiment) -> int | None:
    """Worker processes; of a cluster, which may grow, as many as were asked for."""
    environment = experiment.environment
    cpus = environment.cpus
    if environment.address is not None:
        return environment.workers
    workers = min(environment.workers or cpus, cpus)
    if environment.workers_per_model > workers:
        raise ConfigError(
            f"--workers-per-model: got {environment.workers_per_model}, but there are "
            f"{workers} worker(s) here; use at most that many"
        )
    return workers
