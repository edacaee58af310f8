"""Weight spaces: names, shapes, the flat vector, spaces made of others, equality."""

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


def test_without_biases_an_mlp_has_its_matrices_alone():
    space = WeightSpace.mlp([2, 32, 16, 1], bias=False)
    assert space.shapes == {"W1": (32, 2), "W2": (16, 32), "W3": (1, 16)}


@PROPERTY
@given(widths(depth=(0, 12)))
def test_widths_of_an_mlp_without_biases_are_read_back(d):
    assert WeightSpace.mlp(d, bias=False).widths == tuple(d)


def test_widths_of_another_space_are_refused():
    with pytest.raises(ValueError, match="not the space of an MLP"):
        _ = HAND_BUILT["kernel with taps last"].widths


def test_an_mlp_with_other_hidden_axes_has_no_widths():
    with pytest.raises(ValueError, match="not the space of an MLP"):
        _ = HAND_BUILT["permutable inputs and outputs"].widths


def test_the_axes_of_an_mlp_with_other_tensors_are_no_mlp():
    space = WeightSpace({"W1": ("n0", "n1")}, {"n0": 2, "n1": 3}, ())
    with pytest.raises(ValueError, match="not the space of an MLP"):
        _ = space.widths


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


# --- spaces made of spaces ----------------------------------------------------------------------


def test_neurons_are_one_tensor_per_hidden_axis():
    space = HAND_BUILT["two orders and two sizes"].neurons
    assert space == WeightSpace({"q": ("q",), "p": ("p",)}, {"q": 4, "p": 2}, ("q", "p"))


def test_permutable_moves_fixed_axes_to_the_hidden_ones():
    space = WeightSpace.mlp([2, 3, 1]).permutable("n2", "n0")
    assert space.hidden == ("n1", "n2", "n0")
    assert space.shapes == WeightSpace.mlp([2, 3, 1]).shapes


def test_resized_changes_a_fixed_axis_wherever_it_is():
    space = HAND_BUILT["kernel with taps last"].resized("taps", 5)
    assert space.shapes == {
        "K1": (3, 1, 5),
        "b1": (3,),
        "K2": (3, 3, 5),
        "b2": (3,),
        "W3": (2, 3),
        "b3": (2,),
    }


REFUSALS = {
    "neurons of none": (lambda: WeightSpace.mlp([2, 3]).neurons, "2-3 has no hidden neurons"),
    "a hidden axis to be permutable": (
        lambda: WeightSpace.mlp([2, 3, 1]).permutable("n0", "n1"),
        "axes ['n1'] are not among the fixed axes ['n0', 'n2']",
    ),
    "an unknown axis to be permutable": (
        lambda: WeightSpace.mlp([2, 3, 1]).permutable("n7"),
        "axes ['n7'] are not among the fixed axes",
    ),
    "an axis to be permutable twice": (
        lambda: WeightSpace.mlp([2, 3, 1]).permutable("n0", "n0"),
        "name each once",
    ),
    "a hidden axis of another size": (
        lambda: WeightSpace.mlp([2, 3, 1]).resized("n1", 2),
        "axis 'n1' is not among the fixed axes ['n0', 'n2']",
    ),
    "a size of zero": (lambda: WeightSpace.mlp([2, 3, 1]).resized("n0", 0), "at least 1"),
}


@pytest.mark.parametrize(("make", "message"), REFUSALS.values(), ids=REFUSALS)
def test_one_line_refuses(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


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
    "biases": WeightSpace({"A": A}, {"p": 2}, ("p",)),
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
    assert str(WeightSpace.mlp([2, 32, 1], bias=False)) == "the MLP 2-32-1 without biases"


def test_a_space_given_as_lists_is_that_of_tuples():
    twin = WeightSpace({"W": ["n1", "n0"]}, {"n1": 3, "n0": 2}, ["n1"])
    assert twin == WeightSpace({"W": ("n1", "n0")}, {"n1": 3, "n0": 2}, ("n1",))
    assert hash(twin)


def test_a_space_does_not_change_with_what_it_was_given():
    sizes = {"n1": 3, "n0": 2}
    space = WeightSpace({"W": ("n1", "n0")}, sizes, ("n1",))
    sizes["n1"] = 4
    assert space.sizes["n1"] == 3


def test_a_size_that_is_no_whole_number_is_refused():
    with pytest.raises(TypeError):
        WeightSpace({"W": ("n1",)}, {"n1": 2.5}, ("n1",))
