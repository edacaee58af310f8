"""Canonical forms: the same functions, one form per class of symmetric weights."""

import math

import pytest
import torch
from hypothesis import given

from dws import WeightSpace, act, random_permutation
from dws.canonical import Canonical, canonical_relu, canonical_sine
from dws.symmetries import flip_signs, rescale, shift_phases
from tests.dws.equivariance import HAND_BUILT, PROPERTY, of_known_kind, rng, seeds, widths
from tests.dws.test_symmetries import CYCLE, RESIDUAL, W0, random_theta, render


def sine(space, theta):
    return canonical_sine(space, theta, W0)


FORMS = {"sine": sine, "relu": canonical_relu}
# each with what it takes away
UNDONE = {
    "signs": (sine, flip_signs),
    "phases": (sine, lambda s, t, g: shift_phases(s, t, W0, g, bound=3)),
    "signs and phases": (sine, lambda s, t, g: flip_signs(s, shift_phases(s, t, W0, g), g)),
    "scales": (canonical_relu, lambda s, t, g: rescale(s, t, g, std=2.0)),
}


def close(a, b):
    scale = max(1.0, b.abs().max().item())
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * scale)


@pytest.mark.parametrize("kind", FORMS)
@PROPERTY
@given(widths=widths(), seed=seeds)
def test_the_functions_stay(kind, widths, seed):
    space = WeightSpace.mlp(widths)
    theta = random_theta(space, seed=seed)
    close(render(space, FORMS[kind](space, theta), kind), render(space, theta, kind))


@pytest.mark.parametrize("case", UNDONE)
@PROPERTY
@given(widths=widths(), seed=seeds)
def test_symmetric_weights_have_one_form(case, widths, seed):
    form, symmetry = UNDONE[case]
    space = WeightSpace.mlp(widths)
    theta = random_theta(space, seed=seed)
    close(form(space, symmetry(space, theta, rng(seed))), form(space, theta))


@pytest.mark.parametrize("kind", FORMS)
@PROPERTY
@given(widths=widths(), seed=seeds)
def test_a_form_is_its_own_form(kind, widths, seed):
    space = WeightSpace.mlp(widths)
    theta = FORMS[kind](space, random_theta(space, seed=seed))
    close(FORMS[kind](space, theta), theta)


@pytest.mark.parametrize("kind", FORMS)
@PROPERTY
@given(widths=widths(), seed=seeds)
def test_forms_commute_with_permutations(kind, widths, seed):
    space = WeightSpace.mlp(widths)
    theta = random_theta(space, seed=seed)
    g = random_permutation(space, rng(seed), batch=len(theta))

    def permuted(theta):
        return space.flatten(act(space, g, space.split(theta)))

    close(FORMS[kind](space, permuted(theta)), permuted(FORMS[kind](space, theta)))


def test_phases_lie_between_zero_and_a_quarter_period():
    space = WeightSpace.mlp([2, 50, 50, 1])
    theta = 10 * random_theta(space)
    x = space.split(sine(space, theta))
    phases = W0 * torch.cat([x["b1"], x["b2"]], dim=1)
    assert phases.min() >= 0
    assert phases.max() <= math.pi / 2 + 1e-9
    assert phases.max() > 1.5  # the range is used
    assert torch.equal(x["b3"], space.split(theta)["b3"])


def test_neurons_have_norm_one():
    space = WeightSpace.mlp([2, 5, 7, 1])
    x = space.split(canonical_relu(space, random_theta(space)))
    for k in (1, 2):
        rows = torch.cat([x[f"W{k}"].squeeze(-1), x[f"b{k}"]], dim=2)
        close(rows.norm(dim=2), torch.ones(rows.shape[:2], dtype=torch.float64))


def test_a_neuron_that_is_always_off_is_left_as_it_is():
    space = WeightSpace.mlp([2, 3, 1])
    theta = random_theta(space)
    x = space.split(theta)
    x["W1"][:, 1], x["b1"][:, 1] = 0, 0
    y = space.split(canonical_relu(space, space.flatten(x)))
    assert torch.equal(y["W1"][:, 1], x["W1"][:, 1])
    assert torch.equal(y["W2"][:, :, 1], x["W2"][:, :, 1])


def test_without_biases_to_tell_the_sign_the_weights_do():
    space = WeightSpace.mlp([2, 6, 6, 1])
    x = space.split(random_theta(space))
    x["b1"], x["b2"] = torch.zeros_like(x["b1"]), torch.zeros_like(x["b2"])
    theta = space.flatten(x)
    forms = [sine(space, flip_signs(space, theta, rng(seed))) for seed in range(4)]
    for form in forms:
        assert torch.equal(form, forms[0])


def test_biases_are_no_need_of_the_scales():
    space = WeightSpace.mlp([2, 3, 3, 1], bias=False)
    theta = random_theta(space)
    close(render(space, canonical_relu(space, theta), "relu"), render(space, theta, "relu"))


def test_taps_of_a_kernel_belong_to_its_neurons():
    space = of_known_kind(HAND_BUILT["kernel with taps last"])
    theta = random_theta(space)
    form = canonical_relu(space, theta)
    close(canonical_relu(space, rescale(space, theta, rng())), form)
    x = space.split(form)
    square = x["K2"].square().sum((2, 3, 4)) + x["b2"].square().sum(2)
    close(square, torch.ones_like(square))


@pytest.mark.parametrize("kind", FORMS)
def test_layers_may_be_listed_in_any_order(kind):
    space = WeightSpace.mlp([2, 3, 4, 1])
    turned = WeightSpace(space.axes, space.sizes, tuple(reversed(space.hidden)))
    theta = random_theta(space)
    assert torch.equal(FORMS[kind](turned, theta), FORMS[kind](space, theta))


@pytest.mark.parametrize("kind", FORMS)
def test_as_a_layer_it_is_exported_for_any_batch(kind):
    space = WeightSpace.mlp([2, 4, 4, 1])
    layer = Canonical(space, kind, W0)
    assert not list(layer.parameters())
    m = torch.export.Dim("m", min=1)
    program = torch.export.export(layer, (random_theta(space),), dynamic_shapes=({0: m},))
    for count in (1, 8):
        theta = random_theta(space, count, seed=2)
        assert torch.equal(program.module()(theta), FORMS[kind](space, theta))


@pytest.mark.parametrize("kind", FORMS)
def test_gradients_pass(kind):
    space = WeightSpace.mlp([2, 4, 4, 1])
    theta = random_theta(space).requires_grad_()
    FORMS[kind](space, theta).square().sum().backward()
    assert torch.isfinite(theta.grad).all()
    assert (theta.grad != 0).float().mean() > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Canonical(WeightSpace.mlp([2, 3, 1]), "tanh"), r"kind: got 'tanh', expected 's"),
        (lambda: Canonical(WeightSpace.mlp([2, 3, 1]), "sine", -1.0), r"w0: got -1.0, expected"),
        (lambda: Canonical(CYCLE, "relu"), r"axes \['p', 'q'\] feed each other in a cycle"),
        (lambda: Canonical(RESIDUAL, "relu"), r"axis h is the output of 2 layers \(W1, V\)"),
        (lambda: Canonical(RESIDUAL, "sine"), r"axis h is the output of 2 layers \(W1, V\)"),
        (
            lambda: Canonical(WeightSpace.mlp([2, 3, 1], bias=False), "sine"),
            r"axis n1 has 0 biases, expected one",
        ),
    ],
)
def test_what_has_no_form_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
