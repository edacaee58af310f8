"""What ``zoo.json`` tells of the networks: their space, how they were fitted, what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from dws import WeightSpace
from dws.evaluate import ACTIVATIONS
from zoo_gen.errors import ConfigError
from zoo_gen.recipe.maker import Maker
from zoo_gen.recipe.recipe import MAKERS, Fit, Recipe


@dataclass(frozen=True)
class Network:
    """What the networks of a zoo compute: ``h_k = f(W_k h_{k-1} + b_k)``, the last layer linear.

    Attributes:
        activation: of the hidden layers, a name that `dws.forward` knows.
        w0: frequency of ``"sine"``; unused by the others.
        offset: added to the output.

    Raises:
        ConfigError: another activation, or numbers that are not finite.
    """

    activation: str = "sine"
    w0: float = 30.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        known = ("sine", *ACTIVATIONS)
        if self.activation not in known:
            raise ConfigError(
                f"activation: got {self.activation!r}, expected {', '.join(known)}; leave it out "
                "if the networks have another"
            )
        if not (isfinite(self.w0) and self.w0 > 0):
            raise ConfigError(f"w0: got {self.w0}, expected a number above 0")
        if not isfinite(self.offset):
            raise ConfigError(f"offset: got {self.offset}, expected a finite number")


def told_space(recipe: Recipe, space: WeightSpace) -> dict[str, Any]:
    """What ``zoo.json`` tells of the space: the widths of an MLP, the axes of all others."""
    told = {"size": space.size, "names": list(space.names)}
    shapes = recipe.zoo.fit.torch_shapes(space)
    if shapes is None:
        return {"widths": list(space.widths), **told}
    return {
        "axes": {name: list(axes) for name, axes in space.axes.items()},
        "sizes": dict(space.sizes),
        "hidden": list(space.hidden),
        "shapes": {name: list(shape) for name, shape in shapes.items()},
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


def read_maker(recipe: dict[str, Any]) -> Maker | None:
    """How the members of a zoo were made; None where that is not known.

    Raises:
        ValueError: it is described by fields or values that no maker has.
    """
    plain = recipe["zoo"].get("fit")
    if plain is None:
        return None
    return MAKERS[plain.get("kind", "siren")].read(plain, int(recipe["signals"]))


def read_network(recipe: dict[str, Any], maker: Maker | None) -> Network | None:
    """What the networks compute, None where that is not known, and for classifiers."""
    if maker is not None:
        return Network(maker.activation, maker.w0, maker.offset) if isinstance(maker, Fit) else None
    known = recipe.get("network")
    return None if known is None else Network(**known)
