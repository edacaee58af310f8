"""What many commands share: options, how names may look, an exit status."""

from __future__ import annotations

import re

import click

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # names become names of files
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
