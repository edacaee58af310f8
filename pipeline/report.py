"""What was tracked, as a table and pictures."""

from __future__ import annotations

import io
import statistics
from dataclasses import dataclass

from rich.table import Table

from pipeline.steps import Run
from zoo_gen import TrackingError

COLUMNS = ["model", "test", "validation", "parameters", "networks/s", "seeds"]


@dataclass(frozen=True)
class Row:
    """One model over its seeds.

    Attributes:
        model: its name.
        test: test accuracy per seed, of the best validation epoch, evaluated once.
        validation: accuracy of that epoch per seed.
        parameters: of the model.
        networks_per_second: mean over the training, of its workers together.
        curves: per seed, (epoch, validation accuracy).
    """

    model: str
    test: list[float]
    validation: list[float]
    parameters: int
    networks_per_second: float
    curves: list[list[tuple[int, float]]]

    @property
    def cells(self) -> list[str]:
        """As text, in the order of `COLUMNS`."""
        return [
            self.model,
            percent(self.test),
            percent(self.validation),
            f"{self.parameters:,}",
            f"{self.networks_per_second:,.0f}",
            str(len(self.test)),
        ]


def percent(values: list[float]) -> str:
    """Mean and sample standard deviation in percent; the mean alone of one value."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def rows(run: Run) -> list[Row]:
    """The table's rows, every number read from the tracking store.

    Raises:
        TrainingError: models are not trained.
        TrackingError: the store cannot be reached.
    """
    run.require_trained()
    tracking = run.tracking
    found = []
    for model in run.config.models:
        children = [tracking.find(j.hash8, finished=True) for j in run.jobs if j.model == model]
        ids = [child for child in children if child is not None]
        if len(ids) < len(children):
            raise TrackingError(
                f"{len(children) - len(ids)} of {len(children)} runs of {model} are not in "
                f"{tracking.uri}; `dwszoo train` with the same config and options writes them there"
            )
        metrics = [tracking.metrics(child) for child in ids]
        found.append(
            Row(
                model,
                [m["test_accuracy"] for m in metrics],
                [m["best_val_accuracy"] for m in metrics],
                int(metrics[0]["parameters"]),
                statistics.mean(m["mean_networks_per_second"] for m in metrics),
                [tracking.curve(child, "val_accuracy") for child in ids],
            )
        )
    return found


def table(run: Run, found: list[Row]) -> Table:
    """For the terminal."""
    out = Table(title=title(run), title_justify="left")
    for i, name in enumerate(COLUMNS):
        out.add_column(name, justify="left" if i == 0 else "right")
    for row in found:
        out.add_row(*row.cells)
    return out


def title(run: Run) -> str:
    """What the table is of."""
    zoo = run.recipe
    return (
        f"{run.config.name}: accuracy in %, from weights alone, mean ± std over seeds\n"
        f"{zoo.members:,} networks of {zoo.signals:,} signals, {zoo.zoo.views} each"
    )


def write(run: Run, found: list[Row]) -> str:
    """Write ``report.md`` and its pictures below the root and attach them to the parent run.

    Returns:
        Where ``report.md`` lies.
    """
    store, folder = run.place.store, f"reports/{run.config.name}-{run.key}"
    lines = [
        f"# {run.config.name}",
        "",
        title(run).replace("\n", "; "),
        "",
        "| " + " | ".join(COLUMNS) + " |",
    ]
    lines += ["|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells) + " |" for row in found]
    lines += ["", "![Test accuracy](accuracy.png)", "", "![Validation accuracy](curves.png)", ""]
    lines += [f"Zoo: `{store.url(run.recipe.folder)}`", "", "```yaml", run.text.rstrip(), "```", ""]
    files = {
        "report.md": "\n".join(lines).encode(),
        "accuracy.png": accuracy_plot(run, found),
        "curves.png": curves_plot(run, found),
    }
    for name, data in files.items():
        store.publish(f"{folder}/{name}", data)
        run.tracking.artifact(name, data)
    return store.url(f"{folder}/report.md")


def accuracy_plot(run: Run, found: list[Row]) -> bytes:
    """Bars of test accuracy, one dot per seed, a line at chance, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.7 * len(found) + 1.4), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(found):
        values = [100 * v for v in row.test]
        axes.barh(i, statistics.mean(values), color=f"C{i}", alpha=0.75)
        axes.plot(values, [i] * len(values), "o", color="black", markersize=4)
        axes.text(max(values) + 1.5, i, percent(row.test), va="center")
    axes.axvline(100 / run_classes(run), color="gray", linestyle="--", linewidth=1)
    axes.text(100 / run_classes(run) + 0.5, len(found) - 0.45, "chance", color="gray", fontsize=8)
    axes.set_yticks(range(len(found)), [row.model for row in found])
    axes.set_ylim(len(found) - 0.3, -0.6)
    axes.set_xlim(0, min(118, max(100 * v for row in found for v in row.test) + 22))
    axes.set_xlabel("test accuracy, % (dots: seeds)")
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def curves_plot(run: Run, found: list[Row]) -> bytes:
    """Validation accuracy against epochs, one line per seed, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(found):
        for k, curve in enumerate(row.curves):
            epochs, values = zip(*curve, strict=True)
            label = row.model if k == 0 else None
            axes.plot(epochs, [100 * v for v in values], color=f"C{i}", label=label, alpha=0.8)
    axes.axhline(100 / run_classes(run), color="gray", linestyle="--", linewidth=1, label="chance")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def run_classes(run: Run) -> int:
    """Number of classes of the signals."""
    return int(run.signals.columns["label"].max()) + 1


def png(figure: object) -> bytes:
    """A matplotlib figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)  # type: ignore[attr-defined]
    return buffer.getvalue()
