"""`dwszoo report`: the table of what was tracked, its page, the champion."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline.commands.options import config_options, experiment_of, html_option

if TYPE_CHECKING:
    from pipeline.experiment import Experiment
    from pipeline.views.report_rows import Row

FILE_WIDTH = 200


@click.command()
@html_option
@click.option("--register", is_flag=True, help="Make the best model the champion of its name.")
@config_options
def report(html: str | None, register: bool, **options: Any) -> None:
    """Show the table of what was tracked, and plot it.

    --html writes one self-contained page, and attaches it to the run in MLflow.
    --register puts the model that is best on validation networks into MLflow's registry, under
    the name CONFIG-MODEL, as its champion: `dwszoo predict models:/CONFIG-MODEL@champion`.

    \b
    dwszoo report digits
    dwszoo report digits --html digits.html
    dwszoo report digits --register
    """
    from pipeline.steps import check_models
    from pipeline.views.output_file import output_page

    place = output_page(html, "report") if html else None  # a wrong name fails first
    experiment = experiment_of(options)
    with experiment.environment, experiment.closing(only_new=True):
        check_models(experiment)
        rows = show_report(experiment)
        if place:
            from pipeline.views.predictions import Predictions, attach_plots
            from pipeline.views.report_page import page
            from pipeline.views.report_rows import best_of

            predictions = Predictions.of(experiment, best_of(experiment, rows)[1])
            console = experiment.environment.console
            text = page(experiment, rows, predictions, console).encode()
            place[0].publish(place[1], text)
            experiment.tracking.artifact("report.html", text)
            attach_plots(experiment, predictions)
            click.echo(f"page    {place[0].url(place[1])}")
        if register:
            from pipeline.views.champion import register_best

            best = register_best(experiment, rows)
            before = f" (before: version {best.before})" if best.before else ""
            click.echo(f"model   models:/{best.name}@champion, version {best.version}{before}")


def show_report(experiment: Experiment) -> list[Row]:
    """Print the table and write the report; the table's rows."""
    from pipeline.views.report import report_table, write_report
    from pipeline.views.report_rows import report_rows
    from training.tracking.store import shown

    rows = report_rows(experiment)
    file = write_report(experiment, rows)
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH  # a table in a file is not folded
    console.print(report_table(experiment, rows))
    click.echo(f"zoo     {experiment.zoo_url}")
    click.echo(f"report  {file}")
    click.echo(f"MLflow  {mlflow_command(shown(experiment.tracking.uri))}")
    return rows


def mlflow_command(uri: str) -> str:
    """How to look at the runs."""
    if uri.startswith("http"):
        return f"open {uri}"
    command = "mlflow" if shutil.which("mlflow") else str(Path(sys.executable).with_name("mlflow"))
    port = str(free_port(5000))
    return shlex.join([command, "ui", "--backend-store-uri", uri, "--port", port])


def free_port(first: int) -> int:
    """The first port from here on that nobody listens on."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    return first
