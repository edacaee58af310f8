"""What ``zoo.json`` says of the networks: their space, how they were fitted, what they compute."""

from __future__ import annotations

from typing import Any

from dws import WeightSpace
from zoo_gen.recipe.classifier import Classifier, Cnn
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.recipe.recipe import Fit, Recipe


def told_space(recipe: Recipe, space: WeightSpace) -> dict[str, Any]:
    """What ``zoo.json`` tells of the space: the widths of an MLP, the axes of all others."""
    told = {"size": space.size, "names": list(space.names)}
    fit = recipe.zoo.fit
    if not (isinstance(fit, Classifier) and isinstance(fit.network, Cnn)):
        return {"widths": list(space.widths), **told}
    side = fit.network.kernel
    kernels = {name: (*s[:2], side, side) for name, s in space.shapes.items() if len(s) == 3}
    return {
        "axes": {name: list(axes) for name, axes in space.axes.items()},
        "sizes": dict(space.sizes),
        "hidden": list(space.hidden),
        "shapes": {name: list(kernels.get(name, s)) for name, s in space.shapes.items()},
        **told,
    }


def read_space(description: dict[str, Any]) -> WeightSpace:
    """The space that ``zoo.json`` describes: by its axes, or as an MLP by its widths."""
    if "axes" not in description:
        return WeightSpace.mlp(description["widths"])
    return WeightSpace.from_dict(description)


def write_space(space: WeightSpace) -> dict[str, Any]:
    """The same from a space, by its axes, as plain data."""
    return space.to_dict()


def read_fit(recipe: dict[str, Any]) -> tuple[Fit | None, Classifier | None]:
    """How the networks of a zoo were fitted or trained, as `zoo.json` tells it."""
    told = recipe["zoo"].get("fit")
    if told is None:
        return None, None
    if told.get("kind") == "classifier":
        return None, Classifier.read(told, runs=int(recipe["signals"]))
    return Fit(**{**told, "widths": tuple(told["widths"])}), None


IMPLIED: dict[str, dict[str, Any]] = {
    "nfn-siren": {"grid": "ij", "low": -1.0},
    "dwsnets-mnist": {"grid": "xy"},
    "dwsnets-fashion": {"grid": "xy"},
}
"""Format of an import -> how its public networks were fitted, as their code has it."""


def read_forward_pass(recipe: dict[str, Any], fit: Fit | None) -> ForwardPass:
    """What the networks of a zoo compute; the activation of classifiers is a column of theirs."""
    if fit is not None:
        return fit.forward_pass
    implied = IMPLIED.get(recipe["source"].get("format"), {})
    return ForwardPass.from_dict({**implied, **(recipe.get("network") or {})})


def write_forward_pass(forward_pass: ForwardPass, source: str) -> dict[str, Any] | None:
    """The same of an import, as plain data for its recipe.

    What a format implies is left out: recipes are older than grids, and hashed.
    """
    implied = IMPLIED.get(source, {})
    data = forward_pass.to_dict(explicit=tuple(implied))
    kept = {k: v for k, v in data.items() if k not in implied or v != implied[k]}
    return None if kept == UNKNOWN.to_dict() else kept
