"""What a member computes, as one value: against the plain formula, and as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dws import WeightSpace
from training.models import DwsNetwork
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN
from zoo_gen.zoo.description import read_forward_pass, write_forward_pass

SPACE = WeightSpace.mlp((2, 5, 4, 1))
UNITS = {"sine": torch.sin, "tanh": torch.tanh, "relu": torch.relu}
positive = st.floats(0.01, 100)
passes = st.builds(
    ForwardPass,
    activation=st.sampled_from([None, "sine", "tanh", "relu", "gelu"]),
    w0=positive,
    offset=st.floats(-2, 2),
    scaled_bias=st.booleans(),
    output=st.sampled_from(["linear", "sigmoid"]),
    fourier_features=st.integers(0, 3),
    fourier_scale=positive,
    grid=st.sampled_from([None, "ij", "xy"]),
    low=st.sampled_from([0.0, -1.0]),
)


def theta(networks: int = 3) -> Tensor:
    return 0.3 * torch.randn(networks, SPACE.size, generator=torch.Generator().manual_seed(0))


def plainly(how: ForwardPass, weights: Tensor, x: Tensor) -> Tensor:
    """One network, formula by formula."""
    for k in (1, 2, 3):
        a, b = SPACE.widths[k - 1], SPACE.widths[k]
        w, bias, weights = weights.split([a * b, b, len(weights) - a * b - b])
        z = x @ w.view(b, a).T
        if k == 3:
            return z + bias + how.offset
        if how.activation == "sine":
            x = torch.sin(how.w0 * (z + bias) if how.scaled_bias else how.w0 * z + bias)
        else:
            x = UNITS[how.activation or ""](z + bias)
    raise AssertionError


@pytest.mark.parametrize(
    "how",
    [
        ForwardPass("sine", 5.0, 0.5),
        ForwardPass("sine", 5.0, 0.5, scaled_bias=False),
        ForwardPass("tanh", offset=-0.25),
        ForwardPass("relu"),
    ],
    ids=str,
)
def test_networks_are_evaluated_by_the_plain_formula(how: ForwardPass) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32)
    weights = theta()
    expected = torch.stack([plainly(how, row, torch.from_numpy(x)) for row in weights])
    torch.testing.assert_close(how.render(SPACE, weights, x), expected, rtol=0, atol=1e-5)


def test_points_of_images_are_rows_and_columns_whatever_the_networks_take() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32)
    ij, xy = (ForwardPass("tanh", grid=grid).render(SPACE, theta(), x) for grid in ("ij", "xy"))
    swapped = ForwardPass("tanh", grid="ij").render(SPACE, theta(), x[:, ::-1])
    assert torch.equal(xy, swapped)
    assert not torch.allclose(ij, xy)


def test_odds_become_probabilities() -> None:
    x = np.zeros((1, 2), np.float32)
    plain, odds = ForwardPass("relu"), ForwardPass("relu", output="sigmoid")
    expected = plain.render(SPACE, theta(), x).sigmoid()
    assert torch.equal(odds.render(SPACE, theta(), x), expected)


@given(passes, st.sampled_from(["folder", "nfn-siren", "dwsnets-mnist"]))
def test_a_recipe_keeps_all_of_it(how: ForwardPass, source: str) -> None:
    recipe = {"source": {"format": source}, "network": write_forward_pass(how, source)}
    assert read_forward_pass(recipe, None) == how


@pytest.mark.parametrize(
    ("source", "how", "written"),
    [
        ("folder", UNKNOWN, None),
        ("folder", ForwardPass("relu"), {"activation": "relu", "w0": 30.0, "offset": 0.0}),
        (
            "nfn-siren",
            ForwardPass("sine", grid="ij", low=-1.0),
            {"activation": "sine", "w0": 30.0, "offset": 0.0},
        ),
        (
            "dwsnets-mnist",
            ForwardPass("sine", 30.0, 0.5, grid="xy"),
            {"activation": "sine", "w0": 30.0, "offset": 0.5},
        ),
    ],
)
def test_recipes_of_imports_are_those_of_earlier_versions(
    source: str, how: ForwardPass, written: dict[str, Any] | None
) -> None:
    assert write_forward_pass(how, source) == written


def test_a_frequency_alone_means_sine() -> None:
    assert UNKNOWN.updated(w0=7.0, offset=None) == ForwardPass("sine", 7.0)
    assert UNKNOWN.updated(offset=0.5).activation is None


def test_what_a_newer_version_wrote_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^phase: unknown part of what networks compute"):
        ForwardPass.from_dict({"activation": "sine", "phase": 1})


@pytest.mark.parametrize("how", [ForwardPass("tanh"), ForwardPass("sine", 4.0, scaled_bias=False)])
def test_probes_evaluate_what_the_zoo_computes(how: ForwardPass) -> None:
    model: Any = DwsNetwork(hidden_channels=4, layers=2, probes=6).build(SPACE, 3, how)
    found = model.probe(theta())["p3"][..., 0].transpose(1, 2)
    points = model.probe.points.detach().numpy()
    torch.testing.assert_close(found, how.render(SPACE, theta(), points), rtol=0, atol=1e-5)


def test_probes_of_an_unknown_activation_ask_for_it() -> None:
    with pytest.raises(ConfigError, match=r"not known; set probe_activation, or import .* --activ"):
        DwsNetwork(probes=3).build(SPACE, 3, UNKNOWN)
    DwsNetwork(probes=3, probe_activation="relu").build(SPACE, 3, UNKNOWN)


def test_probes_of_other_units_than_the_zoo_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"probe_activation: got relu, but .* have sine units"):
        DwsNetwork(probes=3, probe_activation="relu").build(SPACE, 3, ForwardPass("sine"))
