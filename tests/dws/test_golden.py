"""Models of MLPs and CNNs stay what they were: parameters of the same names, draws and outputs.

The numbers were taken before axes could repeat or be nested. Saved models and results depend on
them; a change here needs a reason that is worth invalidating both.
"""

import hashlib

import pytest
import torch
from equivariance import SPACES, rng

from dws import DWSNet, WeightSpace

MLP = WeightSpace.mlp([2, 5, 4, 3])
CNN = SPACES["a CNN, flattened"]
SKIP = SPACES["a skip connection"]

# space and options -> start of the digest of the names and shapes of the state, sums of absolute
# parameters and of absolute outputs
GOLDEN = {
    "an MLP, invariant": (MLP, {"out_features": 3}, "dde0a0c2692f", 4232.034, 2.077703),
    "an MLP, attention and norms": (
        MLP,
        {"out_features": 3, "pool": "attention", "heads": 2, "norm": "layer", "residual": True},
        "7f27fd855155",
        6522.841,
        3.883368,
    ),
    "an MLP, equivariant, a maximum": (
        MLP,
        {"out_channels": 2, "pool": "max"},
        "0654300e9194",
        2728.03,
        1582.229,
    ),
    "an MLP, per neuron, sums": (
        MLP,
        {"per_neuron": 2, "pool": "sum"},
        "22a93070bf66",
        2128.257,
        103.751,
    ),
    "an MLP, every encoding": (
        MLP,
        {
            "out_features": 3,
            "fourier": 2,
            "probes": 3,
            "permute": ("n0", "n3"),
            "project": {"n0": 1},
        },
        "41f15ca8d78b",
        4348.525,
        3.802414,
    ),
    "a CNN, invariant": (CNN, {"out_features": 3}, "01a467b3a407", 4748.288, 2.619954),
    "a CNN, equivariant, attention": (
        CNN,
        {"out_channels": 1, "pool": "attention"},
        "39d9bb69c698",
        4923.075,
        287.6479,
    ),
    "a skip connection, per neuron": (
        SKIP,
        {"per_neuron": 2, "norm": "batch"},
        "5419be1f208c",
        5363.973,
        93.2744,
    ),
}


def measured(space, options):
    torch.manual_seed(0)
    net = DWSNet(space, hidden_channels=8, layers=3, **options)
    state = "\n".join(f"{name} {list(x.shape)}" for name, x in net.state_dict().items())
    parameters = sum(p.detach().double().abs().sum().item() for p in net.parameters())
    theta = torch.randn(7, space.size, generator=rng(3))
    net.standardize.fit(theta)
    with torch.no_grad():
        out = net.eval()(theta)
    values = (
        out if isinstance(out, torch.Tensor) else torch.cat([x.flatten() for x in out.values()])
    )
    digest = hashlib.sha256(state.encode()).hexdigest()[:12]
    return digest, parameters, values.double().abs().sum().item()


@pytest.mark.parametrize("case", GOLDEN)
def test_a_model_is_what_it_was(case):
    space, options, digest, parameters, outputs = GOLDEN[case]
    got = measured(space, options)
    assert got[0] == digest
    assert got[1:] == pytest.approx((parameters, outputs), rel=1e-5)
