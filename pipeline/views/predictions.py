"""What a model predicts for test networks: right and wrong, and examples of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.experiment import Experiment
from pipeline.views.gallery import draw
from pipeline.views.plots import Counts, confusion_png, png
from pipeline.views.targets import Targets
from pipeline.views.text_table import number
from pipeline.zoo_facts import ZooPath
from training import results
from training.data import AT_ONCE
from training.jobs import TrainingJob
from training.predictions import answers
from training.tasks import Output
from training.train_job import trained, zoo_at
from zoo_gen import ZooReader

MOST_CLASSES = 20  # of a confusion matrix that can be read
EACH = 6  # examples of right ones, and as many of wrong ones
Numbers = npt.NDArray[np.float64]
SIDE = 1.5  # inches of one network's picture


def targets_of(experiment: Experiment) -> Targets:
    """What the networks should draw, where the config makes them."""
    return (
        Targets(None)
        if isinstance(experiment.config.source, ZooPath)
        else Targets(experiment.signals)
    )


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for all test networks.

    Attributes:
        job: of the model.
        output: of the model.
        member: of the zoo, ``[n]``.
        true: classes ``[n]``, or values ``[n, columns]``.
        predicted: the same of the model; for other outputs ``[n, 0]``.
        confidence: in the class, ``[n]``; empty where there are no classes.
    """

    job: TrainingJob
    output: Output
    member: npt.NDArray[np.int64]
    true: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    confidence: Numbers

    @classmethod
    def of(cls, experiment: Experiment, job: TrainingJob) -> Predictions:
        """Apply the trained model once more."""
        model, data, _ = trained(experiment.environment.store, job)
        rows = data.rows["test"]
        output = data.task.output(data)
        member, true = data.member[rows].numpy(), data.target[rows].numpy()
        if output.kind not in ("logits", "values"):
            nothing = np.zeros((len(rows), 0))
            return cls(job, output, member, true, nothing, np.zeros(0))
        import torch

        with torch.no_grad():
            given = torch.cat([model(data.theta[some]) for some in rows.split(AT_ONCE)])
        found = answers(output, given)
        if output.kind == "logits":
            return cls(job, output, member, true, found["prediction"], found["confidence"])
        predicted = np.stack([found[f"predicted_{name}"] for name in output.names], 1)
        return cls(job, output, member, true, predicted, np.zeros(0))

    @property
    def counts(self) -> Counts:
        """The confusion matrix: true classes (rows), predicted classes (columns)."""
        return confusion(self.true, self.predicted, self.output.size)

    def examples(self) -> dict[str, list[tuple[int, str]]]:
        """Heading -> members with a remark; the same ones each time."""
        if self.output.kind == "logits":
            right, wrong = (
                np.flatnonzero((self.true == self.predicted) == ok) for ok in (True, False)
            )
            # the most confident mistakes are the most telling
            wrong = wrong[np.argsort(-self.confidence[wrong], kind="stable")][:EACH]
            right = right[np.linspace(0, len(right) - 1, min(EACH, len(right))).astype(int)]
            return {
                "Right": [self._remark(i) for i in right],
                "Wrong, most confident first": [self._remark(i) for i in wrong],
            }
        if self.output.kind != "values":
            return {}
        apart = np.abs(self.predicted - self.true) / (self.true.std(0) + 1e-12)
        order = np.argsort(apart.mean(1), kind="stable")
        return {
            "Nearest": [self._remark(i) for i in order[:EACH]],
            "Farthest": [self._remark(i) for i in order[::-1][:EACH]],
        }

    def _remark(self, i: Any) -> tuple[int, str]:
        if self.output.kind == "logits":
            return int(self.member[i]), f"predicted: {self.predicted[i]} ({self.confidence[i]:.0%})"
        pairs = zip(self.output.names, self.predicted[i], self.true[i], strict=True)
        values = ", ".join(f"{n} {number(float(s))}, is {number(float(t))}" for n, s, t in pairs)
        return int(self.member[i]), f"predicted: {values}"


def confusion(true: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int) -> Counts:
    """The confusion matrix ``[classes, classes]`` of classes ``[n]``; rows: true."""
    from sklearn.metrics import confusion_matrix

    counts: Counts = confusion_matrix(true, predicted, labels=np.arange(classes))
    return counts


def attach_plots(experiment: Experiment, predictions: Predictions) -> None:
    """Attach plots to the run in MLflow, and a confusion matrix to each of its children."""
    tracking, store = experiment.tracking, experiment.environment.store
    if drawn := examples_png(
        predictions, zoo_at(store, predictions.job.zoo), targets_of(experiment)
    ):
        tracking.artifact("examples.png", drawn)
    if predictions.output.kind != "logits" or predictions.output.size > MOST_CLASSES:
        return
    tracking.artifact("confusion.png", confusion_png(predictions.counts, predictions.job.title))
    for job in experiment.jobs:
        child = tracking.find(job.hash8, finished=True)
        if child is not None:
            predicted = np.array(results.read(store, job).predictions)
            counts = confusion(predictions.true, predicted, predictions.output.size)
            tracking.artifact("confusion.png", confusion_png(counts, job.title), child)


def examples_png(predictions: Predictions, zoo: ZooReader, targets: Targets) -> bytes | None:
    """Networks that were predicted right and wrong, a row each; None if they draw nothing."""
    from matplotlib.figure import Figure

    rows = {
        heading: draw(zoo, targets, chosen)
        for heading, chosen in predictions.examples().items()
        if chosen
    }
    known = {heading: drawn for heading, drawn in rows.items() if drawn is not None}
    if not known:
        return None
    width = max(len(drawings) for _, drawings in known.values())
    figure = Figure(figsize=(SIDE * width, (SIDE + 0.9) * len(known)), layout="constrained")
    parts = figure.subfigures(len(known), squeeze=False)[:, 0]
    for part, (heading, (view, drawings)) in zip(parts, known.items(), strict=True):
        part.suptitle(heading, weight="bold", fontsize=10)
        row = part.subplots(1, width, squeeze=False)[0]
        for axes in row:
            axes.set_axis_off()
        for axes, drawing in zip(row, drawings, strict=False):
            if view.kind == "curve":
                axes.plot(view.points[:, 0], drawing.drawn[:, 0])
            else:
                values = drawing.drawn.clip(0, 1) if view.kind == "image" else drawing.drawn
                axes.imshow(values, cmap="gray" if view.kind == "image" else "RdBu_r")
            words = drawing.caption.split(", ")
            axes.set_title(
                "\n".join(w for w in words if "predicted" in w or "label" in w), fontsize=8
            )
    return png(figure)
