"""`dwszoo submit`: the same `run`, as a job of a Ray cluster."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from pipeline.commands.completion import config_names
from pipeline.commands.options import INTERRUPTED, debug_option

if TYPE_CHECKING:
    from pipeline.commands.submit.job import Job, Work
    from pipeline.commands.submit.server import JobServer
    from pipeline.config.config import Config

NOT_PASSED_ON = ("config", "address", "engine", "debug", "help")
SECRET_NAMES = re.compile(r"SECRET|TOKEN$|PASSWORD|ACCESS_KEY|API_KEY")
SHORTEST_SECRET = 8
PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")


class Detached(click.ClickException):
    """The person left; the job did not."""

    exit_code = INTERRUPTED


def submit_of(run: click.Command) -> click.Command:
    """The command `submit`, which takes what `run` takes and passes it on."""
    for option in run.params:
        if option.name not in NOT_PASSED_ON:
            submit.params.append(option)
    return submit


@click.command()
@click.argument("config", required=False, shell_complete=config_names)
@click.option(
    "--address",
    default="http://127.0.0.1:8265",
    show_default=True,
    metavar="URL",
    help="The cluster's dashboard, often through a tunnel.",
)
@click.option("--attach", metavar="ID", help="Follow a job that was submitted before.")
@click.option("--stop", metavar="ID", help="Stop a job; the same submit continues its work.")
@click.option("--list", "listing", is_flag=True, help="Show the jobs of the cluster.")
@click.option(
    "--upload", is_flag=True, help="Run these packages, not those installed on the cluster."
)
@debug_option
@click.pass_context
def submit(
    context: click.Context,
    /,
    config: str | None,
    address: str,
    attach: str | None,
    stop: str | None,
    listing: bool,
    upload: bool,
    **options: Any,
) -> None:
    """Run CONFIG as a job on a Ray cluster, and follow its log.

    Closing the terminal, or Ctrl-C, leaves the job running; the same command attaches to it again.
    The root is one that all machines of the cluster see.

    \b
    dwszoo submit digits --root s3://bucket/prefix
    dwszoo submit mine.yaml --root /shared/dwszoo --limit 200
    dwszoo submit --list
    dwszoo submit --attach ID        (or --stop ID)

    The exit status is the job's: 0, 1 or 2.
    """
    passed = _passed_on(context)
    asked = {"CONFIG": config, "--attach": attach, "--stop": stop, "--list": listing}
    if len(given := [name for name, value in asked.items() if value]) != 1:
        got = " and ".join(given) or "none of them"
        raise click.UsageError(f"expected CONFIG, --attach, --stop or --list; got {got}.", context)
    if config is None and (passed or upload):
        extra = passed[0] if passed else "--upload"
        raise click.UsageError(f"{extra} goes with CONFIG, not with {given[0]}.", context)
    console = Console(stderr=True)
    work = None if config is None else _work(config, passed, upload, options)
    from pipeline.commands.submit.server import JobServer

    with console.status(f"asking {address}"):
        server = JobServer(address)
    if listing:
        click.echo("\n".join(_table(server.jobs())))
    elif stop is not None:
        before = server.job(stop)
        with console.status(f"stopping {stop}"):
            job = server.stop(stop)
        told = "had ended before" if before.ended else "ended; the same submit continues its work"
        click.echo(f"job {stop} {told}: {job.status}")
    elif attach is not None:
        _follow(server, server.job(attach), address)
    elif work is not None:
        with console.status(f"submitting to {address}"):
            job, new = server.submit(work)
        told = "submitted" if new else "is under way with this config and these options: attached"
        click.echo(f"job {job.id} {told}", err=True)
        _follow(server, job, address)


def _passed_on(context: click.Context) -> tuple[str, ...]:
    """The options of `run` that stand on the command line, as they go to the job."""
    words: list[str] = []
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if not given or option in _OWN:
            continue
        value = context.params[option.name or ""]
        if isinstance(option, click.Option) and option.is_flag:
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for each in value if option.multiple else (value,):
            words += [option.opts[0], str(each)]
    return tuple(words)


_OWN = tuple(submit.params)
"""The options that `submit` has before `submit_of` adds those of `run`."""


def _work(config: str, passed: tuple[str, ...], upload: bool, options: dict[str, Any]) -> Work:
    """The work, checked here as far as this machine can.

    Raises:
        ConfigError: the config is wrong, means nothing on another machine, or tells a secret.
    """
    from pipeline.commands.submit.job import Work
    from pipeline.config.built_in import built_in
    from pipeline.config.config import load

    parsed, text = load(config, options["changes"], options["limit"])
    _refuse_secrets(text + " ".join(passed))
    _refuse_what_is_here_alone(parsed, options["root"])
    own = config not in built_in()
    return Work(parsed.name, Path(config) if own else config, passed, upload)


def _refuse_secrets(text: str) -> None:
    """Raise `ConfigError` if a job's command or config would show a password on the dashboard."""
    from zoo_gen import ConfigError

    if PASSWORD_IN_URL.search(text):
        raise ConfigError(
            "a URL in the config or the options holds a password, which all who see the dashboard "
            "would see; set it where the cluster starts (MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD; instance roles for S3)"
        )
    for name, value in os.environ.items():
        if SECRET_NAMES.search(name) and len(value) >= SHORTEST_SECRET and value in text:
            raise ConfigError(
                f"the config or the options hold the value of ${name}, which all who see the "
                "dashboard would see; set it where the cluster starts"
            )


def _refuse_what_is_here_alone(config: Config, root: str) -> None:
    """Raise `ConfigError` for paths that mean another place, or none, where the job runs."""
    from zoo_gen import ConfigError, Store

    if Store(root).is_local and not os.path.isabs(root):
        raise ConfigError(
            f"--root: got {root!r}, which every machine would take for another place; a job needs "
            "s3://bucket/prefix, or the full path of a folder that all machines of the cluster "
            "share"
        )
    path = getattr(config.source, "path", "")
    if path and not os.path.isabs(path):
        raise ConfigError(
            f"source.path: got {path!r}, which the job would look for where it runs; give the full "
            "path of a folder on the cluster's head"
        )
    if re.match(r"sqlite:///(?!/)", config.tracking.uri or ""):
        raise ConfigError(
            f"tracking.uri: got {config.tracking.uri}, which the job would look for where it runs; "
            "give a full path (four slashes) or an MLflow server"
        )


def _follow(server: JobServer, job: Job, address: str) -> None:
    """Show a job's log to its end, and end as it did."""
    from zoo_gen import ConfigError, EngineError

    def say(text: str) -> None:
        click.echo(f"dwszoo: {text}", err=True)

    try:
        ended = server.follow(job.id, lambda text: click.echo(text, nl=False), say)
    except (KeyboardInterrupt, BrokenPipeError) as error:
        if isinstance(error, BrokenPipeError):  # of `| head`; Python would tell of it once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        here = "" if address == "http://127.0.0.1:8265" else f" --address {address}"
        raise Detached(
            f"detached; job {job.id} goes on.\n"
            f"  dwszoo submit{here} --attach {job.id}\n"
            f"  dwszoo submit{here} --stop {job.id}"
        ) from None
    if ended.status == "STOPPED":
        raise EngineError(f"job {job.id} was stopped; the same submit continues its work")
    if ended.status == "FAILED":
        missing = "; dwszoo is not installed on the cluster's head: install it, or use --upload"
        hint = missing if ended.exit_code == 127 else ""
        kind = ConfigError if ended.exit_code == 2 else EngineError
        raise kind(f"job {job.id} failed: {ended.message.removeprefix('dwszoo: ')}{hint}")
    click.echo(f"job {job.id} succeeded in {ended.seconds:.0f} s", err=True)


def _table(jobs: list[Job]) -> list[str]:
    """A line for each job, with Ray's words where they tell more than the status."""
    rows = [("id", "config", "status", "started", "duration", "message")]
    for job in jobs:
        started = time.strftime("%b %d %H:%M", time.localtime(job.started)) if job.started else ""
        minutes, seconds = divmod(round(job.seconds), 60)
        duration = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        message = job.message if job.status in ("PENDING", "FAILED") else ""
        rows.append((job.id, job.config, job.status, started, duration, message))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join(map(str.ljust, row, (*widths, 0))).rstrip() for row in rows]
