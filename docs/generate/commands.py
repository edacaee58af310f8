"""Every command with every option, from click's own description of them."""

from __future__ import annotations

import inspect

import click

from pipeline.commands.cli import cli


def commands() -> str:
    """All commands as Markdown, a section each, in the order of `dwszoo --help`."""
    return "\n\n".join(_section(f"dwszoo {name}", c) for name, c in cli.commands.items())


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", f"```text\n{usage}\n```", _help(command)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        parts += [_entry(option, context) for option in options]
    if isinstance(command, click.Group):
        parts += [_section(f"{name} {n}", c) for n, c in command.commands.items()]
    return "\n\n".join(parts)


def _help(command: click.Command) -> str:
    r"""The text of ``--help``; what stands below ``\b`` keeps its lines, as click prints it."""
    if not command.help:
        raise ValueError(f"the command {command.name} has no help text")
    blocks = []
    for block in inspect.cleandoc(command.help).split("\n\n"):
        kept = block.removeprefix("\b\n")
        blocks.append(f"```text\n{kept}\n```" if kept != block else block)
    return "\n\n".join(blocks)


def _entry(option: click.Option, context: click.Context) -> str:
    if not option.help:
        raise ValueError(f"the option {option.opts[0]} of {context.info_name} has no help text")
    names = ", ".join(option.opts)
    value = "N" if isinstance(option.type, click.IntRange) else option.make_metavar(context)
    metavar = "" if option.is_flag else f" {value}"
    shown = option.get_help_extra(context).get("default", "")
    default = f"; default `{shown}`" if shown and not option.is_flag else ""
    return f"`{names}{metavar}`{default}\n:   {option.help}"
