"""Descriptions of networks: they build what they say and refuse what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dws import WeightSpace
from training.models import Inr2VecNetwork, StatisticsNetwork, TransformerNetwork
from training.models.networks import Inr2Vec, Statistics, Transformer
from zoo_gen import ConfigError

SPACE = WeightSpace.mlp([2, 5, 4, 3])


@pytest.mark.parametrize(
    ("described", "direct"),
    [
        (
            Inr2VecNetwork(hidden=(8, 6), head=(5,), dropout=0.3),
            lambda: Inr2Vec(SPACE, 4, hidden=(8, 6), head=(5,), dropout=0.3),
        ),
        (
            TransformerNetwork("transformer", 8, 1, 2, "layer", 0.3, False),
            lambda: Transformer(SPACE, 4, 8, 1, 2, "layer", 0.3, False),
        ),
        (
            StatisticsNetwork(hidden=(6,), dropout=0.3),
            lambda: Statistics(SPACE, 4, hidden=(6,), dropout=0.3),
        ),
    ],
)
def test_a_description_builds_what_it_says(described: Any, direct: Any) -> None:
    theta, outs = torch.randn(6, SPACE.size, generator=torch.Generator().manual_seed(1)), []
    for build in (lambda: described.build(SPACE, 4), direct):
        torch.manual_seed(0)
        outs.append(build()(theta))
    assert torch.equal(*outs)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Inr2VecNetwork, {"hidden": ()}, "hidden: got no width, expected at least one"),
        (Inr2VecNetwork, {"hidden": (8, 0)}, "hidden: got 0, expected more than 0"),
        (Inr2VecNetwork, {"head": (0,)}, "head: got 0, expected more than 0"),
        (Inr2VecNetwork, {"dropout": 1.0}, "dropout: got 1.0, expected at least 0 and less"),
        (TransformerNetwork, {"heads": 3}, "heads: got 3 with channels 64, expected heads that"),
        (TransformerNetwork, {"heads": 0}, "heads: got 0, expected more than 0"),
        (TransformerNetwork, {"layers": 0}, "layers: got 0, expected more than 0"),
        (TransformerNetwork, {"channels": 0}, "channels: got 0, expected more than 0"),
        (TransformerNetwork, {"dropout": -0.1}, "dropout: got -0.1, expected at least 0"),
        (StatisticsNetwork, {"hidden": (-1,)}, "hidden: got -1, expected more than 0"),
        (StatisticsNetwork, {"dropout": 2.0}, "dropout: got 2.0, expected at least 0"),
    ],
)
def test_a_description_names_what_is_out_of_range(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**options)
