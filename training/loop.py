"""The training loop: one function that reads top to bottom. Needs torch alone.

It runs as it is in one process, and as one of several under an initialised ``torch.distributed``
process group (Ray Train sets one up; ``torchrun`` would do). Each global batch is cut into one
slice per worker, so the number of workers changes results by rounding only (and dropout's draws,
and batch norms, whose statistics are those of a worker's slice).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.augmentation import Augmentation
from training.data import Preparation, WeightData, generator
from training.models import Network, check_positive
from training.tasks import Task
from zoo_gen import ConfigError, TrainingError

State = dict[str, Any]
WARMUP_STEPS = 100
EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Training:
    """How a model is trained: AdamW, linear warm-up, then a cosine to zero.

    Attributes:
        epochs: passes over the training networks.
        batch_size: networks per step, over all workers.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW.
        augment: what is done to each training network afresh in each step.
        prepare: what is done to the weights of all splits (`training.data.prepare`), once, and a
            canonical form again after each augmentation:
            ``"align"`` permutes the neurons to be close to those of the training networks,
            ``"canonical-sine"`` and ``"canonical-relu"`` choose one of the weights that signs and
            phases, or scales, leave equivalent.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    augment: Augmentation = field(default_factory=Augmentation)
    prepare: Preparation = "none"

    def __post_init__(self) -> None:
        check_positive("epochs", self.epochs)
        check_positive("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay: got {self.weight_decay}, expected 0 or more")


class Checkpoints(Protocol):
    """Where the state of a training is kept while it runs. Every worker calls, rank 0 provides."""

    def load(self) -> State | None:
        """The last saved state, or None at the first start."""
        ...

    def save(self, state: State | None) -> None:
        """Keep this state (None on workers other than the first)."""
        ...


@dataclass
class Outcome:
    """What training gave.

    Attributes:
        model: with the weights of the best validation epoch, in evaluation mode.
        best_epoch: counted from 1.
        history: a record per epoch, counted from 1: ``train_loss``, ``val_loss``, ``val_`` and each
            metric of the task, ``learning_rate``, ``seconds``, ``networks_per_second``.
        test: ``loss`` and each metric of that model on the test split, evaluated once.
        predictions: a row per test network, what the model says of it (`Task.predictions`).
    """

    model: nn.Module
    best_epoch: int
    history: list[dict[str, float]]
    test: dict[str, float]
    predictions: Tensor = field(repr=False)

    @property
    def validation(self) -> dict[str, float]:
        """The epoch's record that was best."""
        return self.history[self.best_epoch - 1]


def train(
    network: Network,
    data: WeightData,
    settings: Training,
    seed: int,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, record: None,
    device: str = "cpu",
    last: Literal["test", "val"] = "test",
) -> Outcome:
    """Train one model; keep the epoch that is best on validation networks.

    The task's first metric decides, then the lowest loss.

    Args:
        network: what to build.
        data: the networks and what is learned of them, already prepared as the settings say.
        settings: optimisation.
        seed: of initialisation, order and augmentation; never of the split.
        checkpoints: where to resume from and save to; None to do neither.
        on_epoch: called on the first worker after each epoch (from 1) with its record.
        device: of the model and batches.
        last: the split on which the best epoch is evaluated at the end, as the outcome's ``test``;
            a search, which must not see the test split, says ``"val"``.

    Raises:
        ConfigError: an augmentation or model that these networks or the task do not admit, or more
            workers than networks in a batch.
        TrainingError: the loss is no longer finite.
    """
    task, (rank, workers) = data.task, worker()
    task.check_augmentation(settings.augment)
    settings.augment.check(data.space, data.forward_pass)
    check_workers(workers, settings.batch_size, len(data.rows["train"]))
    torch.manual_seed(seed)
    model = task.build(network, data)
    cast(Any, model).standardize.fit(data.theta[data.rows["train"]])
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,  # one kernel: a seventh of the step of a small model otherwise
    )
    per_epoch = math.ceil(len(data.rows["train"]) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, per_epoch * settings.epochs)
    )
    history: list[dict[str, float]] = []
    best: State = {}
    if checkpoints is not None and (saved := checkpoints.load()) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        history, best = saved["history"], saved["best"]
    trained = DistributedDataParallel(model) if workers > 1 else model

    for epoch in range(len(history) + 1, settings.epochs + 1):
        started, loss_sum = time.perf_counter(), torch.zeros((), device=device)
        torch.manual_seed(int(generator("dropout", seed, epoch, rank).initial_seed()))
        trained.train()
        augmentation = generator("augmentation", seed, epoch)
        for rows in data.batches(settings.batch_size, seed, epoch):
            # drawn for the whole batch by every worker: the same for any number of them
            batch = task.batch(data, rows, settings.augment, augmentation)
            mine = slice(rank * len(rows) // workers, (rank + 1) * len(rows) // workers)
            loss = task.loss(trained, data, *(x[mine].to(device) for x in batch)) / len(rows)
            optimizer.zero_grad()
            (loss * workers).backward()  # gradients are averaged over workers; the loss is a sum
            optimizer.step()
            used = float(schedule.get_last_lr()[0])
            schedule.step()
            loss_sum += loss.detach() * len(rows)
        seconds = time.perf_counter() - started
        networks = len(data.rows["train"])
        train_loss = summed(loss_sum).item() / networks
        if not math.isfinite(train_loss):
            raise TrainingError(
                f"the loss is {train_loss} in epoch {epoch}: the model diverged; "
                "lower training.learning_rate"
            )
        score, _ = evaluate(model, data, "val", device)
        history.append(
            {
                "train_loss": train_loss,
                **{f"val_{name}": value for name, value in score.items()},
                "learning_rate": used,
                "seconds": seconds,
                "networks_per_second": networks / seconds,
            }
        )
        if not best or merit(task, score) > merit(task, best):
            best = {**score, "epoch": epoch, "model": copy.deepcopy(model.state_dict())}
        if checkpoints is not None:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "history": history,
                "best": best,
            }
            checkpoints.save(state if rank == 0 else None)
        if rank == 0:
            on_epoch(epoch, history[-1])

    model.load_state_dict(best["model"])
    test, predictions = evaluate(model, data, last, device)
    return Outcome(model.cpu().eval(), best["epoch"], history, test, predictions)


@torch.no_grad()
def evaluate(
    model: nn.Module, data: WeightData, split: str, device: str = "cpu"
) -> tuple[dict[str, float], Tensor]:
    """The task's loss, metrics and predictions over one split, each worker taking its share."""
    model.eval()
    if worker()[1] > 1:  # running statistics are those of each worker's slices; rank 0's are kept
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
    task = data.task
    answers = {
        name: _answers(model, data, name, device)
        for name in dict.fromkeys((*task.references, split))
    }
    return task.scores(data, answers, split), task.predictions(data, answers, split)


def _answers(model: nn.Module, data: WeightData, split: str, device: str) -> Tensor:
    """What the model answers to every network of a split, on every worker ``[n, ...]``."""
    rank, workers = worker()
    rows = data.rows[split]
    mine = slice(rank * len(rows) // workers, (rank + 1) * len(rows) // workers)
    parts = [
        data.task.answers(model, data, split, some, device)
        for some in rows[mine].split(EVALUATION_BATCH)  # one empty part for whom none is left
    ]
    own = torch.cat(parts)
    whole = own.new_zeros(len(rows), *own.shape[1:])
    whole[mine] = own
    return summed(whole).cpu()


def merit(task: Task, score: dict[str, float]) -> tuple[float, float]:
    """What is to be greater: the task's main metric, then minus the loss; NaN is worst."""
    return task.main.merit(score[task.main.name]), -score["loss"]


def check_workers(workers: int, batch_size: int, networks: int) -> None:
    """Raise `ConfigError` where a worker would have no network of a full batch."""
    if workers > min(batch_size, networks):
        raise ConfigError(
            f"--workers-per-model: got {workers}, but a batch has {min(batch_size, networks)} "
            f"network(s) (training.batch_size {batch_size}, {networks} training networks), which "
            "cannot be shared by so many; use fewer workers"
        )


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear warm-up, then half a cosine."""
    warmup = min(WARMUP_STEPS, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def worker() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def summed(value: Tensor) -> Tensor:
    """The sum over all workers."""
    if worker()[1] > 1:
        dist.all_reduce(value)
    return value


def any_worker(flag: bool, device: str = "cpu") -> bool:
    """Whether the flag is set on any worker; every worker asks."""
    return bool(summed(torch.tensor(int(flag), device=device)).item())
