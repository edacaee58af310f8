"""What a shell proposes for arguments; quick, so nothing heavy is imported and no network asked."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from pipeline.commands.options import DEFAULT_ROOT, debug_option
from pipeline.config.built_in import built_in

FORMATS = (  # the keys of `zoo_gen.exchange.imports.FORMATS`, which takes seconds to load
    "dwsnets-mnist",
    "dwsnets-fashion",
    "dwsnets-sine",
    "nfn-siren",
    "nef-arena",
    "unterthiner-cnn",
    "folder",
    "safetensors",
)
COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"  # a bare .zshrc
VARIABLE = "_DWSZOO_COMPLETE"  # by which the shell's script asks, as click wants it


def config_names(context: click.Context, _: Any, typed: str) -> list[CompletionItem]:
    """Built-in configs; files where none begins so."""
    return _or_files([name for name in built_in() if name.startswith(typed)])


def zoo_names(context: click.Context, _: Any, typed: str) -> list[CompletionItem]:
    """Zoos below a local root; files and folders where none begins so."""
    return _or_files([name for name in _below(context, "zoos") if name.startswith(typed)])


def model_names(context: click.Context, _: Any, typed: str) -> list[CompletionItem]:
    """CONFIG-MODEL of the models below a local root; files and folders where none begins so."""
    names = dict.fromkeys(name.rsplit("-seed", 1)[0] for name in _below(context, "models"))
    return _or_files([name for name in names if name.startswith(typed)])


def format_names(context: click.Context, _: Any, typed: str) -> list[CompletionItem]:
    """What `dwszoo import` reads."""
    return [CompletionItem(name) for name in FORMATS if name.startswith(typed)]


def _below(context: click.Context, place: str) -> list[str]:
    folder = os.path.join(os.path.expanduser(context.params.get("root") or DEFAULT_ROOT), place)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name for name in names if not name.startswith(".")]


def _or_files(names: list[str]) -> list[CompletionItem]:
    # bash proposes either its own files or what it is told
    return [CompletionItem(name) for name in names] or [CompletionItem("", type="file")]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete commands, options, configs, zoos and models.

    \b
    dwszoo completion bash >> ~/.bashrc
    dwszoo completion zsh >> ~/.zshrc
    dwszoo completion fish > ~/.config/fish/completions/dwszoo.fish
    """
    root = context.find_root()
    script = get_completion_class(shell)
    assert script is not None
    told = script(root.command, {}, "dwszoo", VARIABLE).source()
    if shell == "zsh":  # the first line stays the first: by it zsh knows a file of completions
        first, rest = told.split("\n", 1)
        told = f"{first}\n{COMPINIT}\n{rest}"
    click.echo(told)
