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
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from training.data import generator
from training.models import Network
from training.settings import Training
from training.tasks import Task, TaskData
from training.workers import check_workers, share, summed, worker
from zoo_gen import TrainingError

State = dict[str, Any]
WARMUP_STEPS = 100
EVALUATION_BATCH = 1024


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
    """A trained model and how it was trained.

    Attributes:
        model: with the weights of the best validation epoch, in evaluation mode.
        best_epoch: counted from 1.
        history: a record per epoch, counted from 1: ``train_loss``, ``val_loss``, ``val_`` and each
            metric of the task, ``learning_rate``, ``seconds``, ``networks_per_second``.
        test: ``loss`` and each metric of that model on the test split, evaluated once.
        predictions: a row per test network, what the model predicts (`Task.predictions`).
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
    data: TaskData,
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
            ``"val"`` for a search, which must not see the test split.

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
    optimizer, schedule = optimization(model, settings, len(data.rows["train"]))
    history: list[dict[str, float]] = []
    best: State = {}
    if checkpoints is not None and (saved := checkpoints.load()) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        history, best = saved["history"], saved["best"]
    shared = DistributedDataParallel(model) if workers > 1 else model

    for epoch in range(len(history) + 1, settings.epochs + 1):
        trained = train_epoch(shared, data, settings, seed, epoch, optimizer, schedule, device)
        score, _ = evaluate(model, data, "val", device)
        validation = {f"val_{name}": value for name, value in score.items()}
        train_loss = {"train_loss": trained.pop("train_loss")}
        history.append({**train_loss, **validation, **trained})
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


def optimization(model: nn.Module, settings: Training, networks: int) -> tuple[AdamW, LambdaLR]:
    """AdamW and its schedule, a step per batch of so many training networks."""
    optimizer = AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,  # one kernel: a seventh of the step of a small model otherwise
    )
    steps = math.ceil(networks / settings.batch_size) * settings.epochs
    return optimizer, LambdaLR(optimizer, lambda step: rate(step, steps))


def train_epoch(
    model: nn.Module,
    data: TaskData,
    settings: Training,
    seed: int,
    epoch: int,
    optimizer: AdamW,
    schedule: LambdaLR,
    device: str,
) -> dict[str, float]:
    """One pass over the training networks.

    Returns:
        ``train_loss``, the last ``learning_rate``, ``seconds`` and ``networks_per_second``.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    (rank, workers), networks = worker(), len(data.rows["train"])
    started, loss_sum = time.perf_counter(), torch.zeros((), device=device)
    torch.manual_seed(int(generator("dropout", seed, epoch, rank).initial_seed()))
    augmentation = generator("augmentation", seed, epoch)
    model.train()
    for rows in data.batches(settings.batch_size, seed, epoch):
        # drawn for the whole batch by every worker: the same for any number of them
        batch = data.task.batch(data, rows, settings.augment, augmentation)
        mine = [x[share(len(rows))].to(device) for x in batch]
        loss = data.task.loss(model, data, *mine) / len(rows)
        optimizer.zero_grad()
        (loss * workers).backward()  # gradients are averaged over workers; the loss is a sum
        optimizer.step()
        used = float(schedule.get_last_lr()[0])
        schedule.step()
        loss_sum += loss.detach() * len(rows)
    seconds = time.perf_counter() - started
    train_loss = summed(loss_sum).item() / networks
    if not math.isfinite(train_loss):
        raise TrainingError(
            f"the loss is {train_loss} in epoch {epoch}: the model diverged; "
            "lower training.learning_rate"
        )
    return {
        "train_loss": train_loss,
        "learning_rate": used,
        "seconds": seconds,
        "networks_per_second": networks / seconds,
    }


@torch.no_grad()
def evaluate(
    model: nn.Module, data: TaskData, split: str, device: str = "cpu"
) -> tuple[dict[str, float], Tensor]:
    """The task's loss, metrics and predictions over one split, each worker on its share."""
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


def _answers(model: nn.Module, data: TaskData, split: str, device: str) -> Tensor:
    """What the model answers to every network of a split, on every worker ``[n, ...]``."""
    rows = data.rows[split]
    mine = share(len(rows))
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


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear warm-up, then half a cosine."""
    warmup = min(WARMUP_STEPS, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
