"""The models and the weights that their tests share."""

import pytest
import torch
from equivariance import rng

from dws import DWSNet, WeightSpace

SPACE = WeightSpace.mlp([2, 5, 4, 3])
OUTPUTS = {
    "invariant": {"out_features": 3},
    "equivariant": {"out_channels": 3},
    "per neuron": {"per_neuron": 3},
}
POOLS = ["mean", "sum", "max", "attention"]
# every option at least once, alone or with those that it might not get along with
OPTIONS = {
    "batch norm": {"norm": "batch"},
    "heads": {"heads": 2},
    "gelu": {"activation": "gelu"},
    "Fourier": {"fourier": 3},
    "Fourier and attention": {"fourier": 2, "pool": "attention", "heads": 2},
    "probes": {"probes": 4, "probe_activation": "relu"},
    "positions": {"permute": ("n3", "n0"), "position_channels": 2},
    "projection": {"project": {"n0": 1, "n3": 2}},
    "recomputed": {"recompute": 2},
    "all": {
        **{"probes": 3, "project": {"n0": 2}, "permute": ("n0", "n3"), "fourier": 2, "heads": 2},
        **{"pool": "attention", "norm": "layer", "residual": True, "activation": "silu"},
    },
}

kinds = pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)


def uneven_weights(m, seed=0):
    """Weights whose mean and scale differ from coordinate to coordinate."""
    generator = rng(seed)
    scale, shift = torch.randn(2, SPACE.size, generator=generator, dtype=torch.float64)
    return shift + scale * torch.randn(m, SPACE.size, generator=generator, dtype=torch.float64)


def model(output, seed=0, **options):
    torch.manual_seed(seed)
    net = DWSNet(SPACE, hidden_channels=8, layers=3, **output, **options).double()
    if net.in_channels == 1:
        net.standardize.fit(uneven_weights(20))
    return net


def flat(out):
    """``[m, ...]``, whatever the kind of output."""
    if isinstance(out, dict):
        return torch.cat([x.flatten(1) for x in out.values()], 1)
    return out
