"""`dwszoo configs`: the built-in configs, and plug-ins."""

from __future__ import annotations

import click

from pipeline.commands.options import debug_option


@click.command()
@debug_option
def configs() -> None:
    """List the built-in configs, and what other packages add to configs.

    \b
    dwszoo configs
    """
    from pipeline.config.builtin import built_in_configs
    from pipeline.config.config import plugins
    from pipeline.config.files import read_config

    known = built_in_configs()
    for name in known:
        click.echo(f"{name:<{max(map(len, known))}}  {read_config(name)['description']}")
    click.echo(f"\nfiles: {next(iter(known.values())).parent}")
    for plugin in plugins():
        if not plugin.problem:
            click.echo(f"plug-in: {plugin}")
