"""Options that several commands share, and the experiment that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.shell_names import DEFAULT_ROOT, config_names

if TYPE_CHECKING:
    from pipeline.environment import Environment
    from pipeline.experiment import Experiment

root_option = click.option(
    "--root",
    default=DEFAULT_ROOT,
    show_default=True,
    metavar="PATH|s3://...",
    help="Where zoos, models, reports and runs are stored.",
)
html_option = click.option(
    "--html",
    metavar="FILE",
    type=click.Path(),
    help="Write a page with pictures, complete in one file.",
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of every command that runs a config."""
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


def environment_of(options: dict[str, Any]) -> Environment:
    """The environment of these options."""
    from pipeline.environment import Environment
    from zoo_gen import Store

    return Environment(
        Store(options["root"]),
        options["engine"],
        options["address"],
        options["workers"],
        options["workers_per_model"],
        options["fitting"],
    )


def experiment_of(options: dict[str, Any]) -> Experiment:
    """The experiment of these options.

    Raises:
        ConfigError: the config or a change of it is wrong.
    """
    from pipeline.config.config import load
    from pipeline.experiment import Experiment
    from training.tracking.store import shown

    config, text = load(options["config"], options["changes"], options["limit"])
    return Experiment(config, shown(text), environment_of(options))
