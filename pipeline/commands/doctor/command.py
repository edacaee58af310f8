"""The command: one check after another, Ray beside them."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from pipeline.commands.doctor.check import Answer, Check, Looking
from pipeline.commands.options import debug_option, root_option

if TYPE_CHECKING:
    from zoo_gen import Store

MARKS = {"ok": "green", "warning": "yellow", "missing": "red"}
STATUS, WHAT = 9, 12  # widths of columns
NARROW, WIDE = 60, 110


@click.command()
@root_option
@click.option("--address", help="Of a Ray cluster or of its dashboard, to be tried too.")
@debug_option
def doctor(root: str, address: str | None) -> None:
    """Tell what is here, what is missing for what, and what to do.

    Nothing of yours is changed. The exit status is 0 if dwszoo works here, with what an option
    asks for; else 1. Something optional may be missing: the line says for what it is needed.

    \b
    dwszoo doctor
    dwszoo doctor --root s3://bucket/prefix --address ray://head:10001
    """
    try:
        from zoo_gen import Store

        checks = _checks(Store(root, retry_seconds=0), address)
    except ImportError as error:
        click.echo(_shown(Answer("missing", "packages", str(error), "pip install dwszoo, again")))
        raise click.ClickException("not well: packages") from error
    # one after another: threads that import at once may see halves of modules
    begun = {check: Looking(check) for check in checks if check.apart}
    answers = []
    for check in checks:
        for answer in (begun.get(check) or Looking(check)).wait():
            answers.append(answer)
            click.echo(_shown(answer))
    if lacking := [answer.what for answer in answers if answer.fails]:
        raise click.ClickException(f"not well: {', '.join(lacking)}")
    click.echo("\ndwszoo works here")


def _checks(store: Store, address: str | None) -> list[Check]:
    """In the order in which they are told."""
    from pipeline.commands.doctor import machine, services

    place = (
        Check("root", lambda: machine.disk(store), needed=True)
        if store.is_local
        else Check("S3", lambda: services.s3(store), needed=True, seconds=40)
    )
    return [
        Check("Python", machine.python, needed=True),
        Check("torch", machine.torch, needed=True, seconds=60),
        Check("C compiler", machine.compiler, seconds=60),
        Check("Ray", lambda: services.ray(address), address is not None, services.SECONDS, True),
        Check("memory", machine.memory),
        place,
        Check("MLflow", lambda: services.mlflow(store), needed=True, seconds=60),
        Check("plug-ins", machine.plugins, seconds=60),
    ]


def _shown(answer: Answer) -> str:
    """Status, what, and what was found, below it the remedy; wrapped to the terminal."""
    width = min(max(shutil.get_terminal_size().columns, NARROW), WIDE) - STATUS - WHAT
    lines = textwrap.wrap(answer.found, width, break_on_hyphens=False)
    if answer.remedy:
        # a command to be copied stays in one line
        lines.append(f"-> {answer.remedy}")
    status = click.style(f"{answer.status:<{STATUS}}", fg=MARKS[answer.status])
    first, *rest = lines
    indent = " " * (STATUS + WHAT)
    return "\n".join([f"{status}{answer.what:<{WHAT}}{first}", *(indent + line for line in rest)])
