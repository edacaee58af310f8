"""`dwszoo report`: the table of what was tracked, its page, the champion."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pipeline.commands.options import html_option

FILE_WIDTH = 200


def report_of(run: click.Command, build: Callable[..., Any]) -> click.Command:
    """The command `report`, which takes what `run` takes; ``build`` makes a `Run` of that."""

    @click.command()
    @html_option
    @click.option("--register", is_flag=True, help="Make the best model the champion of its name.")
    def report(html: str | None, register: bool, **options: Any) -> None:
        """Show the table of what was tracked, and draw it.

        --html writes one page that needs nothing else, and attaches it to the run in MLflow.
        --register puts the model that is best on validation networks into MLflow's registry, under
        the name CONFIG-MODEL, as its champion: `dwszoo predict models:/CONFIG-MODEL@champion`.

        \b
        dwszoo report digits
        dwszoo report digits --html digits.html
        dwszoo report digits --register
        """
        from pipeline.views.pages.place import page_place

        # what hinders a page is told before all else
        place = page_place(html, "report") if html else None
        job = build(**options)
        with job.place, job.closing(only_new=True):
            job.require_models()
            found = show(job)
            if place:
                from pipeline.views.report.examples import Answered
                from pipeline.views.report.page import page
                from pipeline.views.report.pictures import attach
                from pipeline.views.report.rows import best_of

                answered = Answered.of(job, best_of(job, found)[1])
                text = page(job, found, answered, job.place.console).encode()
                place[0].publish(place[1], text)
                job.tracking.artifact("report.html", text)
                attach(job, answered)
                click.echo(f"page    {place[0].url(place[1])}")
            if register:
                from pipeline.views.report.champion import register_best

                best = register_best(job, found)
                before = f" (before: version {best.before})" if best.before else ""
                click.echo(f"model   models:/{best.name}@champion, version {best.version}{before}")

    report.params += run.params
    return report


def show(job: Any) -> Any:
    """Print the table, write the report; the table's rows."""
    from pipeline.views.report.rows import rows
    from pipeline.views.report.table import table, write
    from training.tracking.store import shown

    found = rows(job)
    file = write(job, found)
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH  # a table in a file is not folded
    console.print(table(job, found))
    click.echo(f"zoo     {job.zoo_url}")
    click.echo(f"report  {file}")
    click.echo(f"MLflow  {mlflow_command(shown(job.tracking.uri))}")
    return found


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
