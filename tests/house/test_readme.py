"""The Python of the README and of its page on layers runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def block(page: str, heading: str) -> str:
    """The first Python block below a heading."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^## {heading}$.*?```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_example_with_ones_own_networks_learns(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(block("docs/layers.md", "Your own networks"), names)
    assert isinstance(names["accuracy"], torch.Tensor)
    assert names["accuracy"] > 0.9
    assert "of 50 unseen networks" in capsys.readouterr().out


def test_the_layers_give_the_shapes_of_the_comments() -> None:
    names: dict[str, object] = {}
    lines = [
        re.sub(r"^(DWSNet.*?)  #", r"outputs.append(\1)  #", x)
        for x in block("README.md", "The layers").splitlines()
    ]
    names["outputs"] = outputs = []
    exec("\n".join(lines), names)
    invariant, edited, neurons = outputs
    assert invariant.shape == (8, 10)
    assert edited["W2"].shape == (8, 32, 32, 1)
    assert {axis: x.shape for axis, x in neurons.items()} == {"n1": (8, 32, 4), "n2": (8, 32, 4)}
