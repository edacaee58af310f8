"""Spaces with nested axes, kinds and tensors that are boxes of a parameter; spaces as JSON."""

import copy
import json
import pickle

import pytest
import torch

from dws import WeightSpace
from dws.layout import Box

HEADS = WeightSpace(
    {"Q": ("head", "d", "in"), "O": ("out", "head", "d")},
    {"head": 2, "d": 3, "in": 4, "out": 4},
    ("head", "d"),
    parents={"d": "head"},
    kinds={"Q": "weight", "O": "weight"},
    roles={"Q": ("writes", "writes", "reads"), "O": ("writes", "reads", "reads")},
)


@pytest.mark.parametrize("channels", [(), (1,), (2,)], ids=str)
def test_boxes_are_cut_and_joined(channels):
    axes = {"A": ("p",), "B": ("p", "q"), "C": ("r", "q"), "h": ("r",)}
    layout = {"A": Box(3, (8,)), "B": Box(0, (8, 1)), "C": Box(4, (8, 1)), "h": Box(7, (8,))}
    space = WeightSpace(axes, {"p": 2, "q": 3, "r": 2}, ("p", "q"), layout=layout)
    theta = torch.arange(3.0 * 16).reshape(3, 16)
    theta = theta.reshape(3, 16, *[1] * len(channels)).expand(3, 16, *channels)
    x = space.split(theta)
    matrix = theta.reshape(3, 4, 4, -1)
    assert torch.equal(x["A"], matrix[:, 0::2, 3])
    assert torch.equal(x["B"], matrix[:, 0::2, :3])
    assert torch.equal(x["C"], matrix[:, 1::2, :3])
    assert torch.equal(x["h"], matrix[:, 1::2, 3])
    assert torch.equal(space.flatten(x), theta if channels != (1,) else theta[..., 0])


@pytest.mark.parametrize(
    "space", [WeightSpace.mlp([2, 3, 1]), HEADS, HEADS.permutable("in")], ids=["mlp", "heads", "in"]
)
def test_a_space_survives_json_pickle_and_copies(space):
    data = json.loads(json.dumps(space.to_dict(), sort_keys=True))
    for other in (
        WeightSpace.from_dict(data),
        pickle.loads(pickle.dumps(space)),
        copy.deepcopy(space),
    ):
        assert other == space
        assert hash(other) == hash(space)


def test_plain_spaces_have_no_further_entries():
    assert set(WeightSpace.mlp([2, 3, 1]).to_dict()) == {"names", "axes", "sizes", "hidden", "size"}


def test_chains_have_kinds_and_roles_of_their_own():
    space = WeightSpace.mlp([2, 3, 1])
    assert space.kinds == {"W1": "weight", "b1": "bias", "W2": "weight", "b2": "bias"}
    assert space.roles["W1"] == ("writes", "reads")
    assert WeightSpace({"A": ("p",)}, {"p": 2}, ("p",)).kinds == {}


def test_parents_kinds_and_roles_tell_spaces_apart():
    parts = (HEADS.axes, HEADS.sizes, HEADS.hidden)
    spaces = {
        WeightSpace(*parts),
        WeightSpace(*parts, HEADS.parents),
        WeightSpace(*parts, HEADS.parents, HEADS.kinds),
        WeightSpace(*parts, HEADS.parents, HEADS.kinds, HEADS.roles),
    }
    assert len(spaces) == 4
