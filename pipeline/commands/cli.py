"""The command line. Exit status: 0, 1 (it failed), 2 (bad usage or config), 130 (interrupted)."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from pipeline import __version__
from pipeline.commands.completion import completion
from pipeline.commands.configs import configs
from pipeline.commands.doctor import doctor
from pipeline.commands.inspect import inspect
from pipeline.commands.predict import predict
from pipeline.commands.report import report
from pipeline.commands.run import generate, run, train
from pipeline.commands.submit import submit
from pipeline.commands.transfer import export_zoo, import_zoo
from pipeline.commands.tune import tune

INTERRUPTED = 130
CONTENTS = {  # of `dwszoo --help`
    "From a config": {
        "run CONFIG": "everything: the zoo, every model and seed, the table",
        "generate CONFIG": "the zoo alone",
        "train CONFIG": "the models alone",
        "tune CONFIG": "search hyper-parameters",
        "report CONFIG": "the table, plots, a page; register the best model",
        "submit CONFIG": "the same as run, as a job of a Ray cluster",
    },
    "Zoos and models": {
        "inspect ZOO": "what is in a zoo, and whether it is healthy",
        "predict MODEL INPUT": "apply a trained model to networks",
        "import FORMAT SRC": "other people's networks as a zoo",
        "export ZOO DST": "a zoo as files for other tools",
    },
    "Setup": {
        "configs": "the built-in configs, and plug-ins",
        "doctor": "check the environment and say how to fix it",
        "completion SHELL": "a completion script for bash, zsh or fish",
    },
}


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


for _command in (
    run,
    generate,
    train,
    tune,
    report,
    submit,
    inspect,
    predict,
    import_zoo,
    export_zoo,
    configs,
    doctor,
    completion,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; every foreseen failure is one line and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± still shows the table
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
