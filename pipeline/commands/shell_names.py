"""Names that a shell completes arguments to. Quick: no heavy import, no network."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline.config.builtin import built_in_configs

DEFAULT_ROOT = "./dwszoo-data"

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


def config_names(context: click.Context, _: Any, typed: str) -> list[CompletionItem]:
    """Built-in configs; files where none begins so."""
    return _or_files([name for name in built_in_configs() if name.startswith(typed)])


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
    # bash proposes either files or names, not both
    return [CompletionItem(name) for name in names] or [CompletionItem("", type="file")]
