"""Options that many commands share, and the exit status of an interruption."""

from __future__ import annotations

import click

INTERRUPTED = 130

DEFAULT_ROOT = "./dwszoo-data"

root_option = click.option(
    "--root",
    default=DEFAULT_ROOT,
    show_default=True,
    metavar="PATH|s3://...",
    help="Where zoos, models, reports and runs are kept.",
)
html_option = click.option(
    "--html",
    metavar="FILE",
    type=click.Path(),
    help="Write a page with pictures, complete in itself.",
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
