"""`dwszoo completion`: a script with which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pipeline.commands.options import debug_option

COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"  # a bare .zshrc
VARIABLE = "_DWSZOO_COMPLETE"  # the name that click looks for


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
    source = script(root.command, {}, "dwszoo", VARIABLE).source()
    if shell == "zsh":  # the first line stays the first: by it zsh knows a file of completions
        first, rest = source.split("\n", 1)
        source = f"{first}\n{COMPINIT}\n{rest}"
    click.echo(source)
