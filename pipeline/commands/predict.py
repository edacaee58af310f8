"""`dwszoo predict`: apply a trained model to the networks of a zoo, or to one of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline.commands.options import debug_option, root_option
from pipeline.commands.shell_names import model_names, zoo_names

if TYPE_CHECKING:
    from training.model_file import TrainedModel
    from zoo_gen import Store
    from zoo_gen.exchange.imports import Reading

LIKELIEST = 3  # classes shown for one network


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("networks", metavar="INPUT", shell_complete=zoo_names)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(),
    help="Where predictions go, as Parquet (of a zoo by default below predictions/ of the root).",
)
@click.option(
    "--tracking",
    metavar="URI",
    help="The MLflow store (default: MLFLOW_TRACKING_URI, or the root's own).",
)
@click.option("--part", metavar="NAME", help="Of a file with several networks: which one.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Tensors of a file to leave out.")
@click.option(
    "--order", metavar="A,B,...", help="Layers of a file from input to output, if it has no order."
)
@root_option
@debug_option
def predict(
    model: str,
    networks: str,
    out: str | None,
    tracking: str | None,
    part: str | None,
    ignore: tuple[str, ...],
    order: str | None,
    root: str,
) -> None:
    """Apply a trained MODEL to the networks in INPUT.

    MODEL is any model of a report, as CONFIG-MODEL (the champion if it is registered, else the
    seed that is best on validation networks); a version (models:/NAME@champion, models:/NAME/2);
    a run of MLflow (its id); or a folder below models/ of a root. INPUT is a zoo (its folder, or
    its name below the root), or a file with a network of your own: a state dict, or a whole
    nn.Sequential. Its architecture must be the one that the model reads. No code of a file is run.

    \b
    dwszoo predict models:/mnist-dwsnet@champion mnist
    dwszoo predict digits-dwsnet my-network.pth
    """
    from pipeline.lookup import find_model
    from pipeline.views.output_file import output_file
    from training.own_networks import SUFFIXES
    from training.predictions import encode
    from zoo_gen import ConfigError, Store
    from zoo_gen.exchange.imports import Reading

    if (part or ignore or order) and not networks.endswith(SUFFIXES):
        raise ConfigError(
            f"--part, --ignore and --order choose in a file of one network; {networks} is a zoo"
        )
    store = Store(root)
    target = output_file("--out", out, "predictions.parquet") if out else None
    found, origin = find_model(store, model, tracking)
    click.echo(f"model        {origin}")
    if networks.endswith(SUFFIXES):
        reading = Reading(part, ignore, tuple(order.split(",")) if order else None)
        columns = _of_file(found, Path(networks), reading)
        about = {"network": networks}
    else:
        columns, about = _of_zoo(found, store, networks)
        target = target or (store, f"predictions/{found.name}-of-{about['zoo']}.parquet")
    if target is not None:
        place, name = target
        place.publish(name, encode(columns, {"model": origin, "learned_from": found.zoo, **about}))
        click.echo(f"written to   {place.url(name)}")


def _of_zoo(model: TrainedModel, store: Store, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Predictions of a zoo as columns, and which zoo it is; prints their scores."""
    from pipeline.lookup import find_zoo
    from pipeline.progress import Bar
    from pipeline.views.text_table import number
    from training.predictions import known, predict_zoo, scores

    zoo = find_zoo(store, name)
    folder = f"{zoo.description['recipe'].get('name', 'zoo')}-{zoo.hash8}"
    with Bar(Console(stderr=True), f"predicting {folder}", len(zoo), "networks") as bar:
        bar.update(0)
        columns = predict_zoo(model, zoo, bar.update)
    count = len(columns["member"])
    left = f"; {len(zoo) - count:,} that diverged are left out" if count < len(zoo) else ""
    click.echo(f"networks     {count:,} of {folder}{left}")
    if folder != model.zoo:
        click.echo(f"note         the model learned from another zoo ({model.zoo})")
    scored, unknown = scores(model, columns), int((~known(model, columns)).sum())
    if scored and unknown:
        needs = " or ".join(model.task.needs)
        click.echo(f"note         {unknown:,} have no {needs} and are not scored")
    for split, found in scored.items():
        values = (
            f"{k} {v:.1%}" if k == "accuracy" else f"{k} {number(v)}" for k, v in found.items()
        )
        click.echo(f"{split:<12} {', '.join(values)}")
    return columns, {"zoo": folder, "url": zoo.url}


def _of_file(model: TrainedModel, file: Path, reading: Reading) -> dict[str, Any]:
    """Predictions of one network as a row; prints them."""
    import numpy as np

    from pipeline.views.text_table import number
    from training.own_networks import read_network
    from training.predictions import answers

    space, theta = read_network(file, reading)
    model.require(space, str(file))
    columns = answers(model.output, model.predict(theta))
    click.echo(f"network      {file}, {space}")
    if model.output.kind == "logits":
        shares = columns["probabilities"][0]
        for i in np.argsort(-shares)[:LIKELIEST]:
            click.echo(f"class {model.output.names[i]:<7}{shares[i]:.1%}")
    elif model.output.kind == "values":
        for name in model.output.names:
            click.echo(f"{name:<12} {number(float(columns[f'predicted_{name}'][0]))}")
    else:
        click.echo(f"{model.output.kind:<12} {model.output.size} numbers; --out FILE writes them")
    return {"file": np.array([str(file)]), **columns}
