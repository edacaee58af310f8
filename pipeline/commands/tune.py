"""`dwszoo tune`: search the ranges that stand in a config in place of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import config_options, environment_of


@click.command()
@click.option("--trials", type=click.IntRange(min=1), help="How many at most (default: 30).")
@click.option("--minutes", type=float, help="Or how long, over all commands that continue it.")
@click.option(
    "--output", metavar="FILE", type=click.Path(), help="Write the best config here as well."
)
@click.option("--retrain", is_flag=True, help="Train the best config with every seed, and report.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@config_options
def tune(
    trials: int | None,
    minutes: float | None,
    output: str | None,
    retrain: bool,
    retry_failed: bool,
    **options: Any,
) -> None:
    """Search hyper-parameters: the ranges of CONFIG, judged on validation data alone.

    A range stands in place of a value, with the value as its default if other commands use the
    config too: learning_rate: {log_uniform: [1e-4, 1e-2], default: 2e-3}. The same command
    continues an interrupted search; more --trials extend one that ended.

    \b
    dwszoo tune digits --limit 300
    dwszoo tune digits --trials 60 --retrain
    dwszoo tune mine.yaml --set tune.method=random --minutes 20
    dwszoo tune mine.yaml --set 'models.mlp.network.dropout={uniform: [0, 0.6]}'
    """
    from rich.console import Console

    from pipeline.config.config import checked, load_search
    from pipeline.config.files import format_yaml
    from pipeline.experiment import Experiment
    from pipeline.search import Search
    from pipeline.steps import generate_zoo, train_models
    from pipeline.views.search import table, write
    from training.search.trials import best_of
    from training.tracking.store import shown
    from zoo_gen import ConfigError

    if options["engine"] != "ray":
        raise ConfigError("--engine: got local, but a search needs Ray; leave it out")
    changes = options["changes"]
    changes += () if trials is None else (f"tune.trials={trials}",)
    changes += () if minutes is None else (f"tune.minutes={minutes}",)
    plain, space = load_search(options["config"], changes, options["limit"])
    environment = environment_of(options)
    search = Search(plain, space, environment)
    with environment:
        with search.closing():
            ended = search.carry_out(retry_failed)
            files = write(search, ended)
        Console().print(table(search, ended))
        if output is not None:
            Path(output).write_bytes(files["best.yaml"])
        url = environment.store.url(search.folder)
        click.echo(f"page    {url}/search.html")
        click.echo(f"config  {output or f'{url}/best.yaml'}")
        if retrain and (best := best_of(ended, search.objective)) is not None:
            from pipeline.commands.report import show_report

            found = search.best_config(best)
            again = Experiment(checked(found), shown(format_yaml(found)), environment)
            with again.closing():
                generate_zoo(again)
                train_models(again)
                show_report(again)
