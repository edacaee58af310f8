"""One trial of a search, as its Ray worker does it; or several workers, which Ray Train starts."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
import ray.train
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training.lanes import MAX_FAILURES
from training.local_engine import use_threads
from training.ray_train import collect_reports_soon, last_line, storage
from training.search.ray_zoo import make_zoo
from training.search.settings import Objective
from training.search.work import Make, TrialCheckpoints, Work, train_trial
from training.train_job import forget_zoos, job_data
from zoo_gen import ConfigError, DwszooError, EngineError, Store

TRIAL, EPOCH, SCORE, RECORDS = "trial", "epoch", "score", "records"
LAST, FAILED = "last", "failed"
STATE_FILE = "state.pt"
LEAVING = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "600"}  # Tune's own 2 s are short on a busy machine
"""How long a worker may take to leave a trial that was stopped. It then takes the next one, which
Tune gives up if it cannot."""


@dataclass(frozen=True)
class Bench:
    """What every trial's worker is told.

    Attributes:
        store: the root.
        folder: of the search below it.
        make: a trial's work from its values.
        objective: of the search.
        population: whether states travel between trials.
        cpus: of a worker.
        gpus: of a worker.
        workers: that share each batch of a trial.
    """

    store: Store
    folder: str
    make: Make
    objective: Objective
    population: bool = False
    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1

    @property
    def resources(self) -> dict[str, float]:
        """Of a trial's own process; one with several workers only waits for them.

        Tune wants to reserve something, and a thousandth of a CPU would be one that a worker lacks.
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


def trial_of(bench: Bench) -> Callable[[dict[str, Any]], None]:
    """What a worker does for each trial."""

    def trial(config: dict[str, Any]) -> None:
        os.environ.update(LEAVING)
        try:
            work = bench.make(config[TRIAL]["params"])
            if work.recipe is not None and work.signals is not None:
                forget_zoos()  # those of trials before: each may be as large as memory allows
                make_zoo(bench.store, work.recipe, work.signals)
            place = f"{bench.folder}/checkpoints/{config[TRIAL]['number']:05}.pt"
            (_train_here if bench.workers == 1 else _train_on_workers)(bench, work, place)
        except Exception as error:  # a trial that fails is an outcome, not the search's end
            tune.report({FAILED: reason(error)})

    return trial


def _train_here(bench: Bench, work: Work, place: str) -> None:
    checkpoint = tune.get_checkpoint()
    taken = None
    if checkpoint is not None:  # another's, or its own before a pause
        with checkpoint.as_directory() as folder:
            taken = (Path(folder) / STATE_FILE).read_bytes()
    _train(bench, work, place, tune.report, taken, "cuda" if bench.gpus else "cpu")


def _train(
    bench: Bench,
    work: Work,
    place: str,
    send: Callable[..., None],
    taken: bytes | None,
    device: str,
) -> None:
    use_threads()
    data, _ = job_data(bench.store, work.job)
    teller = Teller(bench.objective, work.job.training.epochs, bench.population, send)
    kept = TrialCheckpoints(bench.store, place, work.job, teller, taken, bench.population)
    train_trial(work.job, data, kept, device)


def _train_on_workers(bench: Bench, work: Work, place: str) -> None:
    """Have Ray Train start workers; what its first one reports, the trial reports."""
    from ray.tune.integration.ray_train import TuneReportCallback

    collect_reports_soon()
    path, filesystem = storage(bench.store, f"{bench.folder}/ray")
    share = {"CPU": bench.cpus} | ({"GPU": bench.gpus} if bench.gpus else {})
    trainer = TorchTrainer(
        _work_of_one,
        train_loop_config={"bench": bench, "work": work, "place": place},
        torch_config=TorchConfig(backend="nccl" if bench.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=bench.workers, use_gpu=bench.gpus > 0, resources_per_worker=share
        ),
        run_config=RunConfig(
            name=f"workers-{uuid.uuid4().hex}",
            storage_path=path,
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


def _work_of_one(config: dict[str, Any]) -> None:
    """What each worker of such a trial does."""
    try:
        device = str(ray.train.torch.get_device())
        _train(config["bench"], config["work"], config["place"], ray.train.report, None, device)
    except DwszooError as error:  # raised alike by all of them; to start again would not mend it
        ray.train.report({FAILED: reason(error)})


class Teller:
    """Reports epochs: the best value so far, in a population the last one.

    Args:
        objective: of the search.
        epochs: of the trial.
        population: whether the state goes with the report.
        send: of Ray Tune or Ray Train.
    """

    def __init__(
        self, objective: Objective, epochs: int, population: bool, send: Callable[..., None]
    ) -> None:
        self.objective, self.epochs = objective, epochs
        self.population, self.send = population, send
        self.values: list[float] = []

    def __call__(self, epoch: int, records: list[dict[str, float]], state: bytes | None) -> None:
        """Report one; on workers other than the first without a record."""
        if not records:
            self.send({})
            return
        value = records[-1][self.objective.metric]
        self.values.append(value)
        best = self.objective.best(self.values)
        score = value if self.population or best is None else best
        metrics = {EPOCH: epoch, SCORE: score, RECORDS: records, LAST: epoch == self.epochs}
        if state is None or not self.population:
            self.send(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE_FILE).write_bytes(state)
            self.send(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def reason(error: Exception) -> str:
    """One line of why a trial failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, DwszooError) else f"{type(error).__name__}: {first[:300]}"
