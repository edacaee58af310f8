"""Weight spaces: names, shapes, the flat vector, equality, errors."""

import copy
import pickle
import re
from itertools import pairwise

import pytest
import torch
from equivariance import HAND_BUILT, PROPERTY, random_features, rng, seeds, widths
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace


def mlp_module(widths):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_mlp_has_the_shapes_of_torch_linear_layers():
    assert WeightSpace.mlp([2, 32, 16, 1]).shapes == {
        "W1": (32, 2),
        "b1": (32,),
        "W2": (16, 32),
        "b2": (16,),
        "W3": (1, 16),
        "b3": (1,),
    }


def test_names_are_in_the_order_of_the_flat_vector():
    assert WeightSpace.mlp([2, 3, 4, 1]).names == ("W1", "b1", "W2", "b2", "W3", "b3")


def test_size_of_the_usual_siren():
    assert WeightSpace.mlp([2, 32, 32, 1]).size == 1185


def test_neurons_between_layers_are_hidden_and_no_others():
    space = WeightSpace.mlp([2, 3, 4, 1])
    assert space.hidden == ("n1", "n2")
    assert [space.hidden_axes(n) for n in space.names] == [
        ("n1",),
        ("n1",),
        ("n2", "n1"),
        ("n2",),
        ("n2",),
        (),
    ]


def test_hidden_and_fixed_axes_part_the_axes_of_each_tensor():
    for space in HAND_BUILT.values():
        for name, axes in space.axes.items():
            hidden, fixed = space.hidden_axes(name), space.fixed_axes(name)
            assert sorted(hidden + fixed) == sorted(axes)
            assert set(hidden) <= set(space.hidden)


def test_fixed_size_counts_the_entries_outside_hidden_axes():
    space = WeightSpace.mlp([2, 4, 4, 3])
    assert [space.fixed_size(name) for name in space.names] == [2, 1, 1, 1, 3, 3]


@PROPERTY
@given(widths(depth=(0, 12)))
def test_widths_of_an_mlp_are_read_back(d):
    assert WeightSpace.mlp(d).widths == tuple(d)


def test_widths_of_another_space_are_refused():
    with pytest.raises(ValueError, match="not the space of an MLP"):
        _ = HAND_BUILT["kernel with taps last"].widths


def test_an_mlp_with_other_hidden_axes_has_no_widths():
    with pytest.raises(ValueError, match="not the space of an MLP"):
        _ = HAND_BUILT["permutable inputs and outputs"].widths


# --- the flat vector ----------------------------------------------------------------------------


@PROPERTY
@given(widths(), seeds, st.integers(1, 3))
def test_flatten_undoes_split_of_plain_weights(d, seed, m):
    space = WeightSpace.mlp(d)
    theta = torch.randn(m, space.size, generator=rng(seed))
    assert torch.equal(space.flatten(space.split(theta)), theta)


@PROPERTY
@given(widths(), seeds, st.integers(2, 4))
def test_flatten_undoes_split_of_channels(d, seed, c):
    space = WeightSpace.mlp(d)
    theta = torch.randn(3, space.size, c, generator=rng(seed))
    assert torch.equal(space.flatten(space.split(theta)), theta)


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("space", HAND_BUILT.values(), ids=HAND_BUILT)
def test_split_undoes_flatten(space, c):
    features = random_features(space, 3, c, rng())
    back = space.split(space.flatten(features))
    assert list(back) == list(space.names)
    assert all(torch.equal(back[name], x) for name, x in features.items())


def test_flatten_takes_tensors_by_name_not_by_order():
    space = WeightSpace.mlp([2, 3, 1])
    features = random_features(space, 2, 1, rng())
    shuffled = {name: features[name] for name in reversed(space.names)}
    assert torch.equal(space.flatten(shuffled), space.flatten(features))


def test_split_copies_nothing():
    space = WeightSpace.mlp([2, 3, 1])
    theta = torch.randn(2, space.size)
    start = theta.untyped_storage().data_ptr()
    assert all(x.untyped_storage().data_ptr() == start for x in space.split(theta).values())


@PROPERTY
@given(widths())
def test_split_finds_the_parameters_of_a_torch_module(d):
    module = mlp_module(d)
    features = WeightSpace.mlp(d).split(parameters_to_vector(module.parameters())[None])
    for x, parameter in zip(features.values(), module.parameters(), strict=True):
        assert torch.equal(x[0, ..., 0], parameter)


# --- from_module --------------------------------------------------------------------------------


@PROPERTY
@given(widths())
def test_from_module_finds_the_widths(d):
    assert WeightSpace.from_module(mlp_module(d)) == WeightSpace.mlp(d)


def test_from_module_reads_nested_sequentials_and_layers_without_parameters():
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 5)), nn.Dropout()),
        nn.Linear(5, 2),
    )
    assert WeightSpace.from_module(module) == WeightSpace.mlp([4, 3, 5, 2])


def test_from_module_takes_an_activation_that_is_used_twice():
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 3), relu, nn.Linear(3, 1))
    assert WeightSpace.from_module(module) == WeightSpace.mlp([2, 3, 3, 1])


def test_from_module_takes_a_single_linear_layer():
    assert WeightSpace.from_module(nn.Linear(2, 3)) == WeightSpace.mlp([2, 3])


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)


def tied_weights():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


SHARED = nn.Linear(2, 2)
REFUSED = {
    "no bias": (nn.Sequential(nn.Linear(2, 3, bias=False)), "layer '0' is linear without bias"),
    "convolution": (
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3)), nn.Linear(2, 1)),
        "layer '0.0' is a Conv2d with parameters",
    ),
    "norm with parameters": (
        nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1)),
        "layer '1' is a LayerNorm with parameters",
    ),
    "own module": (nn.Sequential(nn.Linear(2, 3), Residual()), "layer '1' is a Residual"),
    "no chain": (
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1)),
        "with 3 outputs is followed by one with 4 inputs",
    ),
    "no linear layer": (nn.Sequential(nn.ReLU()), "Sequential has no nn.Linear layer"),
    "one layer used twice": (
        nn.Sequential(SHARED, nn.ReLU(), SHARED),
        "12 weights, but the module has 6 parameters",
    ),
    "two layers with one weight": (tied_weights(), "12 weights, but the module has 8 parameters"),
}


@pytest.mark.parametrize(("module", "message"), REFUSED.values(), ids=REFUSED)
def test_from_module_refuses_what_it_cannot_flatten(module, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        WeightSpace.from_module(module)


# --- errors -------------------------------------------------------------------------------------

SPACE = WeightSpace.mlp([2, 4, 3, 1])

BAD_SPACES = {
    "an axis without size": (({"A": ("p", "q")}, {"p": 2}, ("p",)), r"no size .* \['q'\]"),
    "a size below 1": (({"A": ("p", "q")}, {"p": 2, "q": 0}, ("p",)), "at least 1.*'q': 0"),
    "a hidden axis of no tensor": (
        ({"A": ("p",)}, {"p": 2, "q": 3}, ("q",)),
        r"\['q'\] belong to no",
    ),
    "a repeated axis": (({"A": ("p", "p")}, {"p": 2}, ("p",)), "tensor A.*may appear once"),
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


def test_check_tells_the_channels_expected_and_got():
    with pytest.raises(ValueError, match=re.escape("W1: expected [m, 4, 2, 7], got [5, 4, 2, 2]")):
        SPACE.check(random_features(SPACE, 5, 2, rng()), channels=7)


# --- as a value ---------------------------------------------------------------------------------

A, B = ("p",), ("q", "p")


def test_equal_spaces_are_one_key():
    assert len({WeightSpace.mlp([2, 3, 1]), WeightSpace.mlp((2, 3, 1))}) == 1


def test_the_order_of_sizes_does_not_matter():
    one = WeightSpace({"A": A, "B": B}, {"p": 2, "q": 3}, ("p",))
    two = WeightSpace({"A": A, "B": B}, {"q": 3, "p": 2}, ("p",))
    assert one == two
    assert hash(one) == hash(two)


UNEQUAL = {
    "sizes": WeightSpace({"A": A, "B": B}, {"p": 2, "q": 4}, ("p",)),
    "hidden axes": WeightSpace({"A": A, "B": B}, {"p": 2, "q": 3}, ("p", "q")),
    "axes": WeightSpace({"A": A, "B": ("p", "q")}, {"p": 2, "q": 3}, ("p",)),
    "order in the flat vector": WeightSpace({"B": B, "A": A}, {"p": 2, "q": 3}, ("p",)),
    "kind": "not a space",
}


@pytest.mark.parametrize("other", UNEQUAL.values(), ids=UNEQUAL)
def test_spaces_differ_that_differ_in(other):
    assert WeightSpace({"A": A, "B": B}, {"p": 2, "q": 3}, ("p",)) != other


@pytest.mark.parametrize("copied", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
@pytest.mark.parametrize("space", [WeightSpace.mlp([2, 3, 1]), *HAND_BUILT.values()], ids=str)
def test_a_copy_is_the_same_space(space, copied):
    assert space.size == copied(space).size  # the cached properties travel or are made anew
    assert copied(space) == space
    assert hash(copied(space)) == hash(space)


def test_a_space_is_told_by_its_widths():
    assert str(WeightSpace.mlp([2, 32, 1])) == "the MLP 2-32-1"


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
