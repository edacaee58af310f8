"""`dwszoo run`, and its steps alone: `generate` and `train`."""

from __future__ import annotations

from typing import Any

import click

from pipeline.commands.options import config_options, experiment_of


@click.command()
@config_options
def run(**options: Any) -> None:
    """Generate the zoo, train every model and seed, report. Without models: the zoo alone.

    \b
    dwszoo run digits
    dwszoo run mnist --set source.path=DIR --limit 2000
    """
    from pipeline.commands.report import show_report
    from pipeline.steps import check_models, generate_zoo, train_models

    experiment = experiment_of(options)
    with experiment.environment as environment, experiment.closing():
        if not experiment.config.models:
            generate_zoo(experiment)
            environment.echo(f"{experiment.config.name} has no models: only the zoo was made")
            click.echo(experiment.zoo_url)
            return
        check_models(experiment)  # before hours of fitting
        generate_zoo(experiment)
        train_models(experiment)
        show_report(experiment)


@click.command()
@config_options
def generate(**options: Any) -> None:
    """Generate the zoo only: fit what is missing of it.

    \b
    dwszoo generate digits --set zoo.views=2
    """
    from pipeline.steps import generate_zoo

    experiment = experiment_of(options)
    with experiment.environment, experiment.closing():
        generate_zoo(experiment)
    click.echo(experiment.zoo_url)


@click.command()
@config_options
def train(**options: Any) -> None:
    """Train every model and seed that is not trained yet (needs the zoo).

    \b
    dwszoo train digits
    """
    from pipeline.steps import train_models

    experiment = experiment_of(options)
    with experiment.environment as environment, experiment.closing():
        train_models(experiment)
        environment.echo("`dwszoo report` with the same config and options shows their table")
