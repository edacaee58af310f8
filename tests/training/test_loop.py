"""The training loop: resumable, deterministic, honest about the test split."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import loop
from training.augmentation import Augmentation
from training.loop import Outcome, Training, rate
from training.models import DwsNetwork, MlpNetwork
from training.tasks import Classify, TaskData
from zoo_gen import TrainingError

NETWORK = DwsNetwork(hidden_channels=4, layers=2, dropout=0.2)
SETTINGS = Training(
    epochs=4, batch_size=50, learning_rate=0.01, augment=Augmentation(permutation=True)
)
TIMES = ("seconds", "networks_per_second")


def same(a: Outcome, b: Outcome) -> None:
    def strip(outcome: Outcome) -> list[dict[str, float]]:
        return [{k: v for k, v in r.items() if k not in TIMES} for r in outcome.history]

    assert strip(a) == strip(b)
    assert (a.best_epoch, a.test) == (b.best_epoch, b.test)
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name


def test_the_same_seed_gives_the_same_model(data: TaskData, memory) -> None:
    torch.rand(3)
    first = loop.train(NETWORK, data, SETTINGS, 0, memory())
    torch.rand(5)
    same(first, loop.train(NETWORK, data, SETTINGS, 0, memory()))


def test_another_seed_gives_another_model(data: TaskData, memory) -> None:
    a, b = (loop.train(NETWORK, data, SETTINGS, seed, memory()) for seed in (0, 1))
    assert a.history[0]["train_loss"] != b.history[0]["train_loss"]


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_an_interrupted_training_continues_as_if_nothing_had_been(
    data: TaskData,
    memory,
    epoch: int,
) -> None:
    whole = loop.train(NETWORK, data, SETTINGS, 0, memory())
    checkpoints = memory(interrupt_after=epoch)
    with pytest.raises(KeyboardInterrupt):
        loop.train(NETWORK, data, SETTINGS, 0, checkpoints)
    same(whole, loop.train(NETWORK, data, SETTINGS, 0, checkpoints))
    assert checkpoints.saved == [1, 2, 3, 4]


def test_the_test_split_is_evaluated_once_with_the_best_epochs_weights(
    data: TaskData,
    memory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits: list[str] = []
    evaluate = loop.evaluate

    def watched(model, data, split, device="cpu"):
        splits.append(split)
        return evaluate(model, data, split, device)

    monkeypatch.setattr(loop, "evaluate", watched)
    outcome = loop.train(NETWORK, data, SETTINGS, 0, memory())
    assert splits == ["val"] * 4 + ["test"]
    score, _ = evaluate(outcome.model, data, "val")
    assert score["accuracy"] == max(r["val_accuracy"] for r in outcome.history)
    assert score["loss"] == pytest.approx(outcome.validation["val_loss"])


def test_evaluation_is_accuracy_and_mean_cross_entropy(data: TaskData) -> None:
    torch.manual_seed(0)
    model = MlpNetwork(hidden=(8,)).build(data.space, data.classes)
    score, predicted = loop.evaluate(model, data, "test")
    rows = data.rows["test"]
    logits = model(data.theta[rows])
    nll = -logits.log_softmax(1)[torch.arange(len(rows)), data.target[rows]]
    assert score["loss"] == pytest.approx(nll.mean().item(), rel=1e-5)
    assert torch.equal(predicted, logits.argmax(1))
    assert score["accuracy"] == (predicted == data.target[rows]).double().mean().item()


def test_statistics_come_from_the_training_split_alone(data: TaskData, memory) -> None:
    outcome = loop.train(MlpNetwork(hidden=(4,)), data, Training(epochs=1), 0, memory())
    standardize = outcome.model.standardize
    train = data.space.split(data.theta[data.rows["train"]])
    torch.testing.assert_close(standardize.get_buffer("mean_W2").item(), train["W2"].mean().item())


def test_of_equal_epochs_the_one_with_the_lower_loss_is_best() -> None:
    task = Classify()
    low, high = {"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.5, "loss": 2.0}
    assert loop.merit(task, low) > loop.merit(task, high)
    assert loop.merit(task, {**high, "accuracy": 0.6}) > loop.merit(task, low)


def test_scores_of_several_workers_are_those_of_the_model_that_is_kept(tmp_path: Path) -> None:
    """A batch norm's statistics are a worker's own, until they are made the first one's."""
    script = Path(__file__).with_name("two_workers.py")
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "meeting"), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in (0, 1)
    ]
    said = [json.loads(worker.communicate(timeout=300)[0]) for worker in workers]
    for told, alone in said:
        assert told == pytest.approx(alone, rel=1e-4)


def test_a_diverging_training_says_what_to_do(data: TaskData, memory) -> None:
    with pytest.raises(TrainingError, match=r"epoch \d: the model diverged; lower"):
        loop.train(NETWORK, data, Training(epochs=5, learning_rate=1e30), 0, memory())


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    steps = 2000
    rates = [rate(step, steps) for step in range(steps + 1)]
    assert rates[99] == 1.0
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_the_logged_rate_is_that_of_the_epochs_last_step(data: TaskData, memory) -> None:
    history = loop.train(NETWORK, data, SETTINGS, 0, memory()).history
    steps = len(history) * math.ceil(len(data.rows["train"]) / SETTINGS.batch_size)
    ends = [steps * (epoch + 1) // len(history) - 1 for epoch in range(len(history))]
    rates = [SETTINGS.learning_rate * loop.rate(step, steps) for step in ends]
    assert [record["learning_rate"] for record in history] == pytest.approx(rates)
    assert rates[-1] > 0


def test_learning_happens(data: TaskData, memory) -> None:
    settings = Training(epochs=60, batch_size=32, learning_rate=0.01, weight_decay=0.0)
    outcome = loop.train(DwsNetwork(hidden_channels=8, layers=2), data, settings, 0, memory())
    assert outcome.history[-1]["train_loss"] < 0.7 * outcome.history[0]["train_loss"]
