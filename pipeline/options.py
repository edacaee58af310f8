"""Options that many commands share."""

from __future__ import annotations

import click

DEFAULT_ROOT = "./dwszoo-data"

root_option = click.option(
    "--root",
    default=DEFAULT_ROOT,
    show_default=True,
    metavar="PATH|s3://...",
    help="Where zoos, models, reports and runs are kept.",
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
