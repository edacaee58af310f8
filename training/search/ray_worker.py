"""One trial in the process of a Ray worker, or on several workers that Ray Train starts."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import ray
import ray.train
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training import loop
from training.checkpoints import decode_state, encode_state
from training.jobs import TrainingJob
from training.lanes import MAX_FAILURES
from training.local_engine import use_threads
from training.loop import State
from training.ray_train import collect_reports_soon, last_line, storage
from training.search.settings import Objective
from training.search.space import Params
from training.train_job import forget_zoos, job_data
from zoo_gen import ConfigError, DwszooError, EngineError, LocalEngine, Recipe, Signals, Store
from zoo_gen.make.generate import generate
from zoo_gen.zoo.layout import missing_shards

TRIAL, EPOCH, SCORE, RECORD = "trial", "epoch", "score", "record"
LAST, FAILED = "last", "failed"
SAVE_SECONDS = 2.0
SAVE_SHARE = 20  # saving takes at most one part in so many of the time
ATTEMPTS = 3  # to make a zoo
LEAVING = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "600"}  # Tune's own 2 s are short on a busy machine
"""How long a worker may take to leave a stopped trial, before Tune gives up the next one."""


@dataclass(frozen=True)
class Work:
    """What one trial trains.

    Attributes:
        job: network, training, seed and zoo.
        recipe: of the zoo, where the search changes it and it may have to be made first.
        signals: that it is fitted to; None with ``recipe``.
    """

    job: TrainingJob
    recipe: Recipe | None = None
    signals: Signals | None = None


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials in Ray workers.

    Attributes:
        store: the root.
        folder: of the search below it.
        work_of: the work of a trial from its values; raises `ConfigError` for values that do not
            go together.
        objective: of the search.
        cpus: of a worker.
        gpus: of a worker.
        workers: that share each batch of a trial.
    """

    store: Store
    folder: str
    work_of: Callable[[Params], Work]
    objective: Objective
    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1

    @property
    def resources(self) -> dict[str, float]:
        """Of a trial's own process; one with several workers only waits for them.

        Tune has to reserve something, and a thousandth of a CPU would be one that a worker lacks.
        """
        return {"cpu": 0, "memory": 1} if self.workers > 1 else {"cpu": self.cpus, "gpu": self.gpus}

    @property
    def slots(self) -> int:
        """How many trials this Ray has room for now."""
        there = ray.cluster_resources()
        wanted = {"CPU": self.cpus * self.workers, "GPU": self.gpus * self.workers}
        return min(int(there.get(key, 0) / n + 1e-9) for key, n in wanted.items() if n)

    def require_room(self) -> None:
        """Raise `ConfigError` if this Ray, which does not grow, has no room for a trial."""
        there = ray.cluster_resources()
        for key, each in (("cpus", self.cpus), ("gpus", self.gpus)):
            have = there.get(key[:-1].upper(), 0)
            if each * self.workers > have:
                shared = f" for each of {self.workers} workers" if self.workers > 1 else ""
                raise ConfigError(
                    f"tune.{key}: got {each:g}{shared}, but there are {have:g} here; ask for "
                    "less, or give --address of a cluster that has more"
                )

    def run(self, config: dict[str, Any]) -> None:
        """Run one trial, given as Ray Tune's config; its failure is a result like others."""
        os.environ.update(LEAVING)
        try:
            work = self.work_of(config[TRIAL]["params"])
            if work.recipe is not None and work.signals is not None:
                forget_zoos()  # those of earlier trials: each may fill the memory
                make_zoo(self.store, work.recipe, work.signals)
            path = f"{self.folder}/checkpoints/{config[TRIAL]['number']:05}.pt"
            if self.workers == 1:
                self.train(work.job, path, tune.report, "cuda" if self.gpus else "cpu")
            else:
                self._train_on_workers(work.job, path)
        except Exception as error:
            tune.report({FAILED: reason(error)})

    def train(self, job: TrainingJob, path: str, send: Callable[..., None], device: str) -> None:
        """Train in this process, evaluating validation data alone.

        Raises:
            DwszooError: what the loop or the store raises.
        """
        use_threads()
        data, _ = job_data(self.store, job)
        reports = TrialReports(self.store, path, job, self.objective, send)
        loop.train(job.network, data, job.training, job.seed, reports, device=device, last="val")

    def _train_on_workers(self, job: TrainingJob, path: str) -> None:
        """Have Ray Train start workers; the trial reports what the first of them reports."""
        from ray.tune.integration.ray_train import TuneReportCallback

        collect_reports_soon()
        place, filesystem = storage(self.store, f"{self.folder}/ray")
        share = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        trainer = TorchTrainer(
            _train_on_worker,
            train_loop_config={"runner": self, "job": job, "path": path},
            torch_config=TorchConfig(backend="nccl" if self.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=self.workers, use_gpu=self.gpus > 0, resources_per_worker=share
            ),
            run_config=RunConfig(
                name=f"workers-{uuid.uuid4().hex}",
                storage_path=place,
                storage_filesystem=filesystem,
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
                callbacks=[cast(Any, TuneReportCallback())],
            ),
        )
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise EngineError(
                f"its workers failed {MAX_FAILURES + 1} times; last: {last_line(error)}"
            ) from error


def _train_on_worker(config: dict[str, Any]) -> None:
    """What each of several workers runs."""
    try:
        device = str(ray.train.torch.get_device())
        config["runner"].train(config["job"], config["path"], ray.train.report, device)
    except DwszooError as error:  # raised alike by all of them; a new start would raise it again
        ray.train.report({FAILED: reason(error)})


@dataclass
class TrialReports:
    """Checkpoints of a trial in one file of a store, and a report after each epoch.

    Attributes:
        store: the root.
        path: of the file below it.
        job: of the trial.
        objective: of the search.
        send: Ray's ``report``; does not return if the trial is stopped.
        every: seconds between two writes of the file, at least.
    """

    store: Store
    path: str
    job: TrainingJob
    objective: Objective
    send: Callable[..., None]
    every: float = SAVE_SECONDS

    def __post_init__(self) -> None:
        self.due = time.monotonic() + self.every
        self.values: list[float] = []

    def load(self) -> State | None:
        """The last checkpoint; its epochs are reported again: a new search knows none of them."""
        if not self.store.exists(self.path):
            return None
        state = decode_state(self.store.read(self.path), self.job)
        for record in state["history"] if state is not None else ():
            self._report(record)
        return state

    def save(self, state: State | None) -> None:
        """Report the epoch, and write the file if it is old. Other workers than the first, which
        have no state, send an empty report.
        """
        if state is None:
            self.send({})
            return
        began = time.monotonic()
        if began >= self.due:
            self.store.publish(self.path, encode_state(state, self.job))
            now = time.monotonic()
            self.due = now + max(self.every, SAVE_SHARE * (now - began))
        self._report(state["history"][-1])

    def _report(self, record: dict[str, float]) -> None:
        """The score is the best value so far: what the trial would keep if it ended now."""
        value = record[self.objective.metric]
        self.values.append(value)
        best, epoch = self.objective.best(self.values), len(self.values)
        last = epoch == self.job.training.epochs
        score = value if best is None else best
        self.send({EPOCH: epoch, SCORE: score, RECORD: record, LAST: last})


def make_zoo(store: Store, recipe: Recipe, signals: Signals) -> None:
    """Make a zoo unless it is there. All trials that need the same one wait for one maker.

    The maker uses the CPU of the trial that asked first, which only waits meanwhile. If it dies,
    the next one continues with the shards that are missing.

    Raises:
        DwszooError: what `zoo_gen.make.generate` raises.
        EngineError: its makers die.
    """
    for _ in range(ATTEMPTS):
        if not missing_shards(store, recipe):
            return
        options = {"name": f"dwszoo {store.url(recipe.folder)}", "get_if_exists": True}
        maker = _ZooMaker.options(num_cpus=0, **options).remote()  # type: ignore[attr-defined]
        try:
            ray.get(maker.make.remote(store, recipe, signals))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DwszooError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError:
            continue  # killed by another trial that waited, as the zoo is done; or dead
        ray.kill(maker)
    if missing_shards(store, recipe):
        raise EngineError(
            f"the zoo {recipe.name}-{recipe.hash8} was not finished: the processes that make it "
            "die, often for want of memory; use a smaller zoo.rows_per_shard"
        )


@ray.remote
class _ZooMaker:
    """Makes one zoo, however many ask for it: the second finds all shards there."""

    def make(self, store: Store, recipe: Recipe, signals: Signals) -> Any:
        generate(store, recipe, signals, LocalEngine())


def reason(error: Exception) -> str:
    """One line of why a trial failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, DwszooError) else f"{type(error).__name__}: {first[:300]}"
