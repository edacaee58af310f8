"""The command line. Exit status: 0, 1 (it failed), 2 (bad usage or config), 130 (interrupted)."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import click

from pipeline import __version__
from pipeline.commands.completion import completion, config_names, zoo_names
from pipeline.commands.doctor.command import doctor
from pipeline.commands.options import INTERRUPTED, debug_option, html_option, root_option
from pipeline.commands.predict import predict
from pipeline.commands.submit.command import submit_of
from pipeline.commands.transfer import export_zoo, import_zoo
from pipeline.commands.tune import tune_of
from pipeline.views.report.command import report_of, show

CONTENTS = {  # of the help: a word or two for each command
    "From a config": {
        "run CONFIG": "everything: the zoo, every model and seed, the table",
        "generate CONFIG": "the zoo alone",
        "train CONFIG": "the models alone",
        "tune CONFIG": "search hyper-parameters",
        "report CONFIG": "the table, pictures, a page; register the best model",
        "submit CONFIG": "the same as run, as a job of a Ray cluster",
    },
    "Zoos and models": {
        "inspect ZOO": "what is in a zoo, and whether it is healthy",
        "predict MODEL INPUT": "what a model says of networks",
        "import FORMAT SRC": "networks of others as a zoo",
        "export ZOO DST": "a zoo as files for others",
    },
    "This place": {
        "configs": "the built-in configs, and plug-ins",
        "doctor": "what is here, what is missing for what",
        "completion SHELL": "a script for bash, zsh or fish",
    },
}


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments of every command that takes a config."""
    for option in (
        debug_option,
        click.option(
            "--workers-per-model",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Processes that share the training of one model.",
        ),
        click.option(
            "--fitting",
            type=click.Choice(["auto", "fused", "compiled", "eager"]),
            default="auto",
            show_default=True,
            help="How networks are fitted: the fastest way here, or this one.",
        ),
        click.option("--workers", type=click.IntRange(min=1), help="Processes (default: CPUs)."),
        click.option(
            "--engine",
            type=click.Choice(["ray", "local"]),
            default="ray",
            show_default=True,
            help="Ray, or this process alone.",
        ),
        click.option("--address", help="A running Ray cluster (default: a local Ray)."),
        click.option("--limit", type=int, metavar="N", help="Use the first N signals only."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one key of the config, such as zoo.views=2. Repeatable.",
        ),
        root_option,
        click.argument("config", shell_complete=config_names),
    ):
        command = option(command)
    return command


class Contents(click.Group):
    """A group whose help is a table of contents, and which names the nearest command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the contents."""
        return [usage.split()[0] for section in CONTENTS.values() for usage in section]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Sections of commands, a line each."""
        width = max(len(usage) for section in CONTENTS.values() for usage in section)
        for title, section in CONTENTS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{usage:<{width}}", line) for usage, line in section.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As in click, with a suggestion."""
        import difflib

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            close = difflib.get_close_matches(args[0], known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(
                f"No command {args[0]!r}.{hint} Commands: {', '.join(known)}.", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Contents, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dwszoo")
def cli() -> None:
    """Zoos of small neural networks, and networks that learn on their weights.

    \b
    dwszoo run digits         begin here: from images to a tracked table
    dwszoo run --help         every command has examples

    CONFIG is the name of a built-in config or a YAML file. The same command run again skips what
    is done and continues what is not.
    """


def _run(
    config: str,
    root: str,
    changes: tuple[str, ...],
    limit: int | None,
    address: str | None,
    engine: str,
    workers: int | None,
    workers_per_model: int,
    fitting: str,
) -> Any:
    """A `pipeline.steps.Run` of the options."""
    from pipeline.config.config import load
    from pipeline.environment import Workplace
    from pipeline.steps import Run
    from training.tracking.store import shown
    from zoo_gen import Store

    parsed, text = load(config, changes, limit)
    place = Workplace(
        Store(root),
        engine,  # type: ignore[arg-type]
        address,
        workers,
        workers_per_model,
        fitting,  # type: ignore[arg-type]
    )
    return Run(parsed, shown(text), place)


@cli.command()
@config_options
def run(**options: Any) -> None:
    """Generate the zoo, train every model and seed, report. Without models: the zoo alone.

    \b
    dwszoo run digits
    dwszoo run mnist --set source.path=DIR --limit 2000
    """
    job = _run(**options)
    with job.place, job.closing():
        if job.config.models:
            job.require_models()  # before hours of fitting
        job.generate()
        if job.config.models:
            job.train()
            show(job)
        else:
            job.place.say(f"{job.config.name} has no models: the zoo is all there is to make")
            click.echo(job.zoo_url)


@cli.command()
@config_options
def generate(**options: Any) -> None:
    """Generate the zoo only: fit what is missing of it.

    \b
    dwszoo generate digits --set zoo.views=2
    """
    job = _run(**options)
    with job.place, job.closing():
        job.generate()
    click.echo(job.zoo_url)


@cli.command()
@config_options
def train(**options: Any) -> None:
    """Train every model and seed that is not trained yet (needs the zoo).

    \b
    dwszoo train digits
    """
    job = _run(**options)
    with job.place, job.closing():
        job.train()
        job.place.say("`dwszoo report` with the same config and options shows their table")


@cli.command()
@click.argument("zoo", shell_complete=zoo_names)
@html_option
@click.option("--source", metavar="PATH", help="For the page: where the signals lie (DIR or file).")
@click.option("--verify", is_flag=True, help="Check every byte of every shard, and nothing else.")
@click.option("--mend", is_flag=True, help="Do this, and set shards aside that are corrupt.")
@root_option
@debug_option
def inspect(
    zoo: str, root: str, html: str | None, source: str | None, verify: bool, mend: bool
) -> None:
    """Tell what is in a zoo and whether it is healthy; verifies every checksum.

    ZOO is the folder of a zoo, or its name (or the start of it) below the root. Findings are told
    with what to do; the exit status is 1 if shards are missing or corrupt, else 0.

    \b
    dwszoo inspect digits
    dwszoo inspect mnist --html mnist.html --source DIR
    dwszoo inspect s3://bucket/prefix/zoos/digits-1a2b3c4d --verify
    dwszoo inspect digits --mend     then the command that made the zoo, once more
    """
    from pipeline.views.inspect.command import inspect_zoo

    inspect_zoo(zoo, root, html, source, verify, mend)


@cli.command()
@debug_option
def configs() -> None:
    """List the built-in configs, and what other packages add to configs.

    \b
    dwszoo configs
    """
    import yaml

    from pipeline.config.built_in import built_in
    from pipeline.config.config import plugins

    known = built_in()
    for name, file in known.items():
        description = yaml.safe_load(file.read_text())["description"]
        click.echo(f"{name:<{max(map(len, known))}}  {description}")
    click.echo(f"\nfiles: {next(iter(known.values())).parent}")
    for plugin in plugins():
        if not plugin.problem:
            click.echo(f"plug-in: {plugin}")


cli.add_command(report_of(run, _run))
cli.add_command(completion)
cli.add_command(doctor)
cli.add_command(predict)
cli.add_command(import_zoo)
cli.add_command(export_zoo)
cli.add_command(submit_of(run))
cli.add_command(tune_of(run))


def main() -> None:
    """Run the command line; every foreseen failure is one line and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a table is worth more than its ±
    sys.exit(status(sys.argv[1:]))


def status(arguments: list[str]) -> int:
    """Run a command and give its exit status."""
    try:
        cli.main(arguments, prog_name="dwszoo", standalone_mode=False)
    except click.ClickException as error:
        if not arguments:  # then the message is the help
            click.echo(error.format_message(), err=True)
            return error.exit_code
        click.echo(f"dwszoo: {error.format_message()}", err=True)
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"try: {error.ctx.command_path} --help", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ndwszoo: interrupted; the same command continues where it stopped", err=True)
        return INTERRUPTED
    except Exception as error:
        from zoo_gen.errors import ConfigError, DwszooError  # here: it loads torch

        if "--debug" in arguments or not isinstance(error, DwszooError):
            raise
        click.echo(f"dwszoo: {error}", err=True)
        return 2 if isinstance(error, ConfigError) else 1
    return 0
