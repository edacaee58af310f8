"""`dwszoo submit`: `run` as a job of a Ray cluster."""

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

from pipeline.commands.options import debug_option
from pipeline.commands.run import run
from pipeline.commands.shell_names import config_names

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

    from pipeline.cluster_job import ClusterJob
    from pipeline.config.config import Config
    from pipeline.job_server import JobServer

NOT_PASSED_ON = ("config", "address", "engine", "debug", "help")
SECRET_NAMES = re.compile(r"SECRET|TOKEN$|PASSWORD|ACCESS_KEY|API_KEY")
SHORTEST_SECRET = 8
PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")


class Detached(click.ClickException):
    """Interrupted while following a job, which continues."""

    exit_code = 130


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
    All machines of the cluster must be able to reach the root.

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
    wanted = None if config is None else _cluster_job(config, passed, upload, options)
    from pipeline.job_server import JobServer

    with console.status(f"asking {address}"):
        server = JobServer(address)
    if listing:
        click.echo("\n".join(_table(server.jobs())))
    elif stop is not None:
        before = server.job(stop)
        with console.status(f"stopping {stop}"):
            job = server.stop(stop)
        ended = before.status.is_terminal()
        state = "had ended before" if ended else "ended; the same submit continues it"
        click.echo(f"job {stop} {state}: {job.status}")
    elif attach is not None:
        server.job(attach)  # that it exists
        _follow(server, attach, address)
    elif wanted is not None:
        with console.status(f"submitting to {address}"):
            id, new = server.submit(wanted)
        state = "submitted" if new else "is running with this config and these options: attached"
        click.echo(f"job {id} {state}", err=True)
        _follow(server, id, address)


def _passed_on(context: click.Context) -> tuple[str, ...]:
    """The options of `run` that stand on the command line, as they go to the job."""
    words: list[str] = []
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if not given or option in OWN_OPTIONS:
            continue
        value = context.params[option.name or ""]
        if isinstance(option, click.Option) and option.is_flag:
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for each in value if option.multiple else (value,):
            words += [option.opts[0], str(each)]
    return tuple(words)


OWN_OPTIONS = tuple(submit.params)
submit.params += [option for option in run.params if option.name not in NOT_PASSED_ON]


def _cluster_job(
    config: str, passed: tuple[str, ...], upload: bool, options: dict[str, Any]
) -> ClusterJob:
    """The job, checked as far as this machine can.

    Raises:
        ConfigError: the config is wrong, means something else on the cluster, or holds a secret.
    """
    from pipeline.cluster_job import ClusterJob
    from pipeline.config.builtin import built_in_configs
    from pipeline.config.config import load

    parsed, text = load(config, options["changes"], options["limit"])
    _refuse_secrets(text + " ".join(passed))
    _refuse_what_is_here_alone(parsed, options["root"])
    own = config not in built_in_configs()
    return ClusterJob(parsed.name, Path(config) if own else config, passed, upload)


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


def _follow(server: JobServer, id: str, address: str) -> None:
    """Show a job's log to its end, and end as it did."""
    from pipeline.job_server import last_line
    from zoo_gen import ConfigError, EngineError

    def say(text: str) -> None:
        click.echo(f"dwszoo: {text}", err=True)

    try:
        ended = server.follow(id, lambda text: click.echo(text, nl=False), say)
    except (KeyboardInterrupt, BrokenPipeError) as error:
        if isinstance(error, BrokenPipeError):  # of `| head`; Python would report it once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        here = "" if address == "http://127.0.0.1:8265" else f" --address {address}"
        raise Detached(
            f"detached; job {id} continues.\n"
            f"  dwszoo submit{here} --attach {id}\n"
            f"  dwszoo submit{here} --stop {id}"
        ) from None
    if ended.status == "STOPPED":
        raise EngineError(f"job {id} was stopped; the same submit continues it")
    if ended.status == "FAILED":
        code, reason = ended.driver_exit_code, last_line(ended.message or "")
        missing = "; dwszoo is not installed on the cluster's head: install it, or use --upload"
        hint = missing if code == 127 else ""
        kind = ConfigError if code == 2 else EngineError
        raise kind(f"job {id} failed: {reason.removeprefix('dwszoo: ')}{hint}")
    click.echo(f"job {id} succeeded in {_seconds(ended):.0f} s", err=True)


def _seconds(job: JobDetails) -> float:
    """How long a job has run so far, or ran."""
    end = job.end_time / 1000 if job.end_time else time.time()
    return max(0.0, end - job.start_time / 1000) if job.start_time else 0.0


def _table(jobs: dict[str, JobDetails]) -> list[str]:
    """A line for each job, with Ray's message where it says more than the status."""
    from pipeline.job_server import last_line

    rows = [("id", "config", "status", "started", "duration", "message")]
    for id, job in jobs.items():
        start = job.start_time and time.localtime(job.start_time / 1000)
        started = time.strftime("%b %d %H:%M", start) if start else ""
        minutes, seconds = divmod(round(_seconds(job)), 60)
        duration = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        status, config = str(job.status), (job.metadata or {}).get("config", "")
        message = last_line(job.message or "") if status in ("PENDING", "FAILED") else ""
        rows.append((id, config, status, started, duration, message))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join(map(str.ljust, row, (*widths, 0))).rstrip() for row in rows]
