"""What a model said of test networks: right and wrong, class against class, value against value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.steps import Run
from pipeline.views.inspect.targets import Targets
from pipeline.views.pages.sheet import number
from pipeline.zoo_facts import ZooPath
from training.data import AT_ONCE
from training.jobs import TrainingJob
from training.predictions import answers
from training.tasks import Output
from training.train_job import trained

MOST_CLASSES = 20  # of a confusion matrix that can be read
EACH = 6  # examples of right ones, and as many of wrong ones
Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def targets_of(run: Run) -> Targets:
    """What the networks should draw, where the config makes them."""
    return Targets(None) if isinstance(run.config.source, ZooPath) else Targets(run.signals)


@dataclass(frozen=True)
class Answered:
    """A model's answers to all test networks.

    Attributes:
        job: of the model.
        output: what it gives.
        member: of the zoo, ``[n]``.
        true: what is right: classes ``[n]``, or values ``[n, columns]``.
        said: the same of the model; for other outputs nothing, ``[n, 0]``.
        confidence: in the class, ``[n]``; empty where there are no classes.
    """

    job: TrainingJob
    output: Output
    member: npt.NDArray[np.int64]
    true: npt.NDArray[Any]
    said: npt.NDArray[Any]
    confidence: Numbers

    @classmethod
    def of(cls, run: Run, job: TrainingJob) -> Answered:
        """Ask the trained model once more."""
        model, data, _ = trained(run.place.store, job)
        rows = data.rows["test"]
        output = data.task.output(data)
        member, true = data.member[rows].numpy(), data.target[rows].numpy()
        if output.kind not in ("logits", "values"):
            nothing = np.zeros((len(rows), 0))
            return cls(job, output, member, true, nothing, np.zeros(0))
        import torch

        with torch.no_grad():
            given = torch.cat([model(data.theta[some]) for some in rows.split(AT_ONCE)])
        told = answers(output, given)
        if output.kind == "logits":
            return cls(job, output, member, true, told["prediction"], told["confidence"])
        said = np.stack([told[f"predicted_{name}"] for name in output.names], 1)
        return cls(job, output, member, true, said, np.zeros(0))

    @property
    def counts(self) -> Counts:
        """How often each true class (row) was told to be each class (column)."""
        return confusion_of(self.true, self.said, self.output.size)

    def examples(self) -> dict[str, list[tuple[int, str]]]:
        """Heading -> members with a remark; the same ones each time."""
        if self.output.kind == "logits":
            right, wrong = (np.flatnonzero((self.true == self.said) == ok) for ok in (True, False))
            # the wrong ones that the model was surest of tell most
            wrong = wrong[np.argsort(-self.confidence[wrong], kind="stable")][:EACH]
            right = right[np.linspace(0, len(right) - 1, min(EACH, len(right))).astype(int)]
            return {
                "Right": [self._remark(i) for i in right],
                "Wrong, and surest of it": [self._remark(i) for i in wrong],
            }
        if self.output.kind != "values":
            return {}
        apart = np.abs(self.said - self.true) / (self.true.std(0) + 1e-12)
        order = np.argsort(apart.mean(1), kind="stable")
        return {
            "Nearest": [self._remark(i) for i in order[:EACH]],
            "Farthest": [self._remark(i) for i in order[::-1][:EACH]],
        }

    def _remark(self, i: Any) -> tuple[int, str]:
        if self.output.kind == "logits":
            return int(self.member[i]), f"told: {self.said[i]} ({self.confidence[i]:.0%})"
        pairs = zip(self.output.names, self.said[i], self.true[i], strict=True)
        told = ", ".join(f"{n} {number(float(s))}, is {number(float(t))}" for n, s, t in pairs)
        return int(self.member[i]), f"told: {told}"


def confusion_of(true: npt.NDArray[Any], said: npt.NDArray[Any], classes: int) -> Counts:
    """Counts ``[classes, classes]`` of classes ``[n]`` and what was told of them ``[n]``."""
    out = np.zeros((classes, classes), np.int64)
    np.add.at(out, (true, said), 1)
    return out
