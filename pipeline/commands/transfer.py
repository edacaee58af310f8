"""`dwszoo import` and `dwszoo export`: zoos of others to this format, and out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pipeline.commands.options import debug_option, root_option
from pipeline.commands.shell_names import format_names, zoo_names


@click.command("import")
@click.argument("kind", metavar="FORMAT", shell_complete=format_names)
@click.argument("src", type=click.Path(path_type=Path))
@click.option("--name", help="Of the zoo (default: that of SRC).")
@click.option("--labels", type=click.Path(path_type=Path), help="folder: CSV with a column 'file'.")
@click.option("--step", type=int, help="unterthiner-cnn: snapshots of this step alone (86: last).")
@click.option(
    "--split",
    default="8,1,1",
    show_default=True,
    metavar="A,B,C",
    help="Shares of train, val and test where the source has no split.",
)
@click.option(
    "--split-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the order in which signals are dealt to those splits.",
)
@click.option(
    "--split-at",
    metavar="A,B",
    help="Signals below A for training, below B for validation, the rest for test.",
)
@click.option("--activation", help="Of the hidden layers: sine, relu, tanh, gelu.")
@click.option("--w0", type=float, help="Frequency of sine (default of the known SIRENs: 30).")
@click.option(
    "--plain-bias", is_flag=True, help="Units are sin(w0 W x + b), not sin(w0 (W x + b))."
)
@click.option("--offset", type=float, help="Added to the output when a network is drawn.")
@click.option(
    "--grid",
    type=click.Choice(["ij", "xy"]),
    help="Coordinates of images: ij is (row, column), xy is (column, row).",
)
@click.option("--part", metavar="NAME", help="The network to take of files that hold several.")
@click.option(
    "--ignore", multiple=True, metavar="PATTERN", help="Leave out tensors, such as 'log_std'."
)
@click.option("--order", metavar="A,B,...", help="Names of the layers, from input to output.")
@click.option("--glob", metavar="PATTERN", help="folder: which files are networks, by their names.")
@click.option(
    "--skip-bad", is_flag=True, help="Leave out files that are bad or of another architecture."
)
@root_option
@debug_option
def import_zoo(kind: str, src: Path, root: str, **options: Any) -> None:
    """Bring networks of others into a zoo. The same command continues an interrupted import.

    \b
    dwszoo import dwsnets-mnist mnist-inrs
    dwszoo import nfn-siren siren_cifar_wts --split-at 45000,50000
    dwszoo import nef-arena mnist-nefs --split-at 55000,60000
    dwszoo import unterthiner-cnn cifar10 --step 86
    dwszoo import folder my-networks --labels labels.csv --activation relu
    dwszoo import folder agents --part actor --ignore log_std

    FORMAT is dwsnets-mnist, dwsnets-fashion, dwsnets-sine, nfn-siren, nef-arena, unterthiner-cnn,
    folder (any files with a network each: .pth, .pt, .ckpt, .bin, .pth.tar, .safetensors, .npz,
    .h5, .hdf5, .msgpack) or safetensors (one file for all). Files are read without running code
    in them.
    """
    from pipeline.config.files import NAME
    from pipeline.progress import Bar
    from zoo_gen import ConfigError, Split, Store
    from zoo_gen.exchange.imports import Import, Reading, open_source

    console = Console(stderr=True)
    bare = re.sub(r"[^A-Za-z0-9_.-]+", "-", src.resolve().name.removesuffix(".safetensors"))
    name = options["name"] or bare.strip("-._") or kind
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name: got {name!r}; names are letters, digits, '_', '-', '.'")
    shares = _whole_numbers("--split", options["split"], 3)
    split = Split(shares[0], shares[1], shares[2], options["split_seed"])
    points = options["split_at"] and _whole_numbers("--split-at", options["split_at"], 2)
    order = options["order"] and tuple(name.strip() for name in options["order"].split(","))
    reading = Reading(options["part"], options["ignore"], order or None)
    with console.status(f"listing {src}") as status:

        def looked(done: int) -> None:
            status.update(f"looking at {src}: {done:,} files")

        source = open_source(
            kind,
            src,
            options["labels"],
            options["step"],
            (points[0], points[1]) if points else None,
            options["skip_bad"],
            looked,
            reading,
            options["glob"],
        )
    known = {key: options[key] for key in ("activation", "w0", "offset", "grid")}
    known["scaled_bias"] = False if options["plain_bias"] else None
    job = Import(Store(root), name, source, split, source.forward_pass.updated(**known))
    with Bar(console, f"importing {kind} as {name}-{job.hash8}", job.members, "networks") as bar:
        done = job.run(bar.update)
        if done.diverged:
            bar.say(
                f"{name}: {done.diverged:,} networks have weights that are not finite; training "
                "leaves them out"
            )
        for note in source.notes:
            bar.say(f"{name}: {note}")
        if source.layout.space.is_mlp and job.what_they_compute.activation is None:
            bar.say(
                f"{name}: the activation of its networks is not known, so they can be neither "
                "drawn nor probed; add --activation if you know it"
            )
    click.echo(job.store.url(job.folder))


@click.command("export")
@click.argument("zoo", shell_complete=zoo_names)
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["pth", "safetensors", "hdf5"]),
    help="A state dict per network; one file; or HDF5 as the neural-field arena has it (MLPs).",
)
@click.option(
    "--layout",
    type=click.Choice(["dwsnets", "nfn", "neural-graphs", "scalegmn"]),
    help="Folders, names and splits that the loaders of this project read without an edit.",
)
@root_option
@debug_option
def export_zoo(zoo: str, dst: Path, kind: str | None, layout: str | None, root: str) -> None:
    """Write a zoo for other tools.

    ZOO is the folder of a zoo, or its name (or the start of it) below the root. DST is a folder
    that is empty or not there, for safetensors a new file.

    \b
    dwszoo export digits networks --format pth
    dwszoo export digits digits.safetensors --format safetensors
    dwszoo export mnist DWSNets/dataset --layout dwsnets
    dwszoo export mnist nfn/experiments/data/siren_mnist_wts --layout nfn
    dwszoo export mnist DIR --layout neural-graphs
    dwszoo export mnist scalegmn/data --layout scalegmn

    Formats keep weights bit for bit; pth keeps all columns in labels.csv, safetensors all but text,
    hdf5 the label alone. Layouts bring weights to the grid, offset and w0 of their project, keep
    label and split, and leave out networks that diverged. What the networks compute is written
    beside them, and `dwszoo import` reads it back with them.
    """
    from pipeline.lookup import find_zoo
    from pipeline.progress import Bar
    from zoo_gen import Store
    from zoo_gen.exchange.export import export_zoo as write
    from zoo_gen.exchange.layouts import export_layout

    if (kind is None) == (layout is None):
        raise click.UsageError("give one of --format and --layout")
    found = find_zoo(Store(root), zoo)
    with Bar(Console(stderr=True), f"exporting {found.url}", len(found), "networks") as bar:
        if kind is not None:
            write(found, dst, kind, bar.update)
        elif layout is not None:
            for note in export_layout(found, dst, layout, bar.update).notes:
                bar.say(note)
    click.echo(dst)


def _whole_numbers(option: str, text: str, count: int) -> list[int]:
    from zoo_gen import ConfigError

    parts = text.split(",")
    if len(parts) != count or not all(p.strip().isdigit() for p in parts):
        raise ConfigError(
            f"{option}: got {text!r}, expected {count} whole numbers such as "
            f"{','.join(['8', '9', '10'][:count])}"
        )
    return [int(p) for p in parts]
