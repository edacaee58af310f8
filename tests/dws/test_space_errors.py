"""What weight spaces refuse, and what they say."""

import re

import pytest
import torch
from equivariance import random_features, rng

from dws import WeightSpace
from dws.layout import Box

SPACE = WeightSpace.mlp([2, 4, 3, 1])

BAD_SPACES = {
    "an axis without size": (({"A": ("p", "q")}, {"p": 2}, ("p",)), r"no size .* \['q'\]"),
    "a size below 1": (({"A": ("p", "q")}, {"p": 2, "q": 0}, ("p",)), "at least 1.*'q': 0"),
    "a hidden axis of no tensor": (
        ({"A": ("p",)}, {"p": 2, "q": 3}, ("q",)),
        r"\['q'\] belong to no",
    ),
    "a hidden axis named twice": (({"A": ("p",)}, {"p": 2}, ("p", "p")), "name each once"),
    "a nested axis without its parent": (
        ({"A": ("p", "q"), "b": ("q",)}, {"p": 2, "q": 3}, ("p", "q"), {"q": "p"}),
        "'q' is nested in 'p', but tensor b has axes",
    ),
    "a fixed axis that is nested": (
        ({"A": ("p", "q")}, {"p": 2, "q": 3}, ("p",), {"q": "p"}),
        "'q' in 'p': expected a hidden axis",
    ),
    "an unknown kind": (({"A": ("p",)}, {"p": 2}, ("p",), {}, {"A": "gain"}), "kinds: got .*gain"),
    "roles of another length": (
        ({"A": ("p",)}, {"p": 2}, ("p",), {}, {"A": "bias"}, {"A": ("writes", "reads")}),
        "roles of A: got .*its axes \\('p',\\)",
    ),
    "a layout with a hole": (
        ({"A": ("p",)}, {"p": 2}, (), {}, {}, {}, {"A": Box(1, (1,))}),
        "overlap or do not cover",
    ),
}


@pytest.mark.parametrize(("parts", "message"), BAD_SPACES.values(), ids=BAD_SPACES)
def test_a_space_refuses(parts, message):
    with pytest.raises(ValueError, match=message):
        WeightSpace(*parts)


@pytest.mark.parametrize("d", [[], [3], [2, 0, 1], [2, -1]], ids=str)
def test_mlp_refuses_widths_and_shows_them(d):
    with pytest.raises(ValueError, match=re.escape(f"widths {d}")):
        WeightSpace.mlp(d)


@pytest.mark.parametrize("shape", [(5, 30), (31,), (2, 31, 1, 1)], ids=str)
def test_split_tells_the_size_expected_and_got(shape):
    assert SPACE.size == 31
    with pytest.raises(ValueError, match="2-4-3-1") as caught:
        SPACE.split(torch.zeros(shape))
    assert "[m, 31]" in str(caught.value)
    assert f"got {list(shape)}" in str(caught.value)


def wrong_shape(name, shape):
    return {**random_features(SPACE, 5, 2, rng()), name: torch.zeros(shape)}


BAD_FEATURES = {
    "transposed": (wrong_shape("W2", (5, 4, 3, 2)), "tensor W2: expected [m, 3, 4, c], got [5, 4"),
    "no channels": (wrong_shape("b1", (5, 4)), "tensor b1: expected [m, 4, c], got [5, 4]"),
    "a tensor missing": (
        {n: x for n, x in random_features(SPACE, 5, 2, rng()).items() if n != "b3"},
        "['W1', 'b1', 'W2', 'b2', 'W3', 'b3'], got ['W1', 'b1', 'W2', 'b2', 'W3']",
    ),
    "a tensor too many": (
        {**random_features(SPACE, 5, 2, rng()), "b4": torch.zeros(5, 1, 2)},
        "'b3', 'b4']",
    ),
}


@pytest.mark.parametrize(("features", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES)
def test_flatten_names_the_tensor_expected_and_got(features, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SPACE.flatten(features)


def test_check_tells_which_tensor_is_of_more_networks_than_the_first():
    features = {**random_features(SPACE, 5, 2, rng()), "W2": torch.zeros(4, 3, 4, 2)}
    with pytest.raises(ValueError, match="W2 is of 4 networks, W1 of 5"):
        SPACE.check(features)


def test_check_tells_the_channels_expected_and_got():
    with pytest.raises(ValueError, match=re.escape("W1: expected [m, 4, 2, 7], got [5, 4, 2, 2]")):
        SPACE.check(random_features(SPACE, 5, 2, rng()), channels=7)


@pytest.mark.parametrize(
    ("axes", "sizes", "message"),
    [
        ({}, {}, "expected tensors and axes with names"),
        ({"conv1.weight": ("a",)}, {"a": 2}, "conv1.weight"),
        ({"w": ("a*b",)}, {"a*b": 2}, r"a\*b"),
        ({"w": ("a",), "s": ()}, {"a": 2}, r"\['s'\] have no axis"),
    ],
)
def test_names_that_a_state_dict_cannot_hold_and_tensors_without_axes_are_refused(
    axes: dict[str, tuple[str, ...]], sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WeightSpace(axes, sizes, ())


def test_a_width_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(TypeError):
        WeightSpace.mlp([2.7, 3, 1])  # type: ignore[list-item]
