"""What ``zoo.json`` says of the networks: their space, how they were fitted, what they compute."""

from __future__ import annotations

from typing import Any

from dws import WeightSpace
from zoo_gen.recipe.forward_pass import UNKNOWN, ForwardPass
from zoo_gen.recipe.maker import Maker
from zoo_gen.recipe.recipe import MAKERS, Recipe


def describe_space(recipe: Recipe, space: WeightSpace) -> dict[str, Any]:
    """The space in ``zoo.json``: the widths of an MLP, the axes of all others."""
    common = {"size": space.size, "names": list(space.names)}
    shapes = recipe.zoo.fit.torch_shapes(space)
    if shapes is None:
        return {"widths": list(space.widths), **common}
    return {
        "axes": {name: list(axes) for name, axes in space.axes.items()},
        "sizes": dict(space.sizes),
        "hidden": list(space.hidden),
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        **common,
    }


def read_space(description: dict[str, Any]) -> WeightSpace:
    """The space that ``zoo.json`` describes: by its axes, or as an MLP by its widths."""
    if "axes" not in description:
        return WeightSpace.mlp(description["widths"])
    return WeightSpace.from_dict(description)


def write_space(space: WeightSpace) -> dict[str, Any]:
    """The same from a space, by its axes, as plain data."""
    return space.to_dict()


def read_maker(recipe: dict[str, Any]) -> Maker | None:
    """How the members of a zoo were made; None where that is not known.

    Raises:
        ValueError: it is described by fields or values that no maker has.
    """
    plain = recipe["zoo"].get("fit")
    if plain is None:
        return None
    return MAKERS[plain.get("kind", "siren")].read(plain, int(recipe["signals"]))


IMPLIED: dict[str, dict[str, Any]] = {
    "nfn-siren": {"grid": "ij", "low": -1.0},
    "dwsnets-mnist": {"grid": "xy"},
    "dwsnets-fashion": {"grid": "xy"},
}
"""Format of an import -> how its public networks were fitted, as their code has it."""


def read_forward_pass(recipe: dict[str, Any], maker: Maker | None) -> ForwardPass:
    """What the networks of a zoo compute; the activation of classifiers is a column of theirs."""
    if maker is not None:
        return maker.forward_pass
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
