"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(heading: str) -> str:
    """The first Python block below a heading."""
    found = re.search(rf"^## {heading}$.*?```python\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_example_with_ones_own_networks_learns(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(block("Your own networks"), names)
    assert isinstance(names["accuracy"], torch.Tensor)
    assert names["accuracy"] > 0.9
    assert "of 50 unseen networks" in capsys.readouterr().out


def test_the_layers_give_the_shapes_that_are_told() -> None:
    names: dict[str, object] = {}
    lines = [
        re.sub(r"^(DWSNet.*?)  #", r"outputs.append(\1)  #", x)
        for x in block("The layers").splitlines()
    ]
    names["outputs"] = outputs = []
    exec("\n".join(lines), names)
    invariant, edited, neurons = outputs
    assert invariant.shape == (8, 10)
    assert edited["W2"].shape == (8, 32, 32, 1)
    assert {axis: x.shape for axis, x in neurons.items()} == {"n1": (8, 32, 4), "n2": (8, 32, 4)}
