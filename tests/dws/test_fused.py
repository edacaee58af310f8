"""The one pass equals its specification: values, every gradient, every way to differentiate."""

import copy

import pytest
import torch
from equivariance import PROPERTY, rng, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap

import dws.linear
from dws import DWSNet, WeightSpace, fused
from dws.fused import Affine, affine, plain_affine

SPACE = WeightSpace.mlp([2, 4, 3, 1])

# shapes of parts that come up: full, broadcast along one hidden axis, along both
PARTS = [(True, True), (True, False), (False, True), (False, False)]


def inputs(m, hidden, c_in, c_out, kept, seed=0, dtype=torch.float64):
    """x, weight and a part for each of ``kept``: whether it varies along each hidden axis."""
    shapes = [(m, *hidden, c_in), (c_out, c_in)]
    for varies in kept:
        sizes = (n if v else 1 for n, v in zip(hidden, varies, strict=True))
        shapes.append((m, *sizes, c_out))
    generator = rng(seed)
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def outcomes(function, tensors, relu, pool, used, seed=0):
    """Outputs, and gradients of a random combination of those that are used."""
    outputs = function(*tensors[:2], relu, pool, *tensors[2:])
    generator = rng(seed)
    chosen = [out for i, out in enumerate(outputs) if i in used]
    above = [torch.randn(out.shape, generator=generator).to(out) for out in chosen]
    return [*outputs, *torch.autograd.grad(chosen, tensors, above)]


def assert_equal(got, expected, **tolerance):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@st.composite
def cases(draw):
    hidden = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    some = st.tuples(*(st.booleans() for _ in hidden))
    pool = draw(st.sampled_from([None, "mean", "sum"]))
    outputs = range(1 + len(hidden) if pool else 1)
    return {
        "tensors": {
            "m": draw(st.integers(0, 5)),
            "hidden": hidden,
            "c_in": draw(st.integers(1, 3)),
            "c_out": draw(st.integers(1, 3)),
            "kept": draw(st.lists(some, min_size=1, max_size=4)),
            "seed": draw(seeds),
        },
        "relu": draw(st.booleans()),
        "pool": pool,
        # what is not used has no gradient
        "used": draw(st.sets(st.sampled_from(outputs), min_size=1)),
        "bytes": draw(st.sampled_from([1, 500, 1 << 21])),
    }


@PROPERTY
@given(cases())
def test_values_and_gradients_are_those_of_the_plain_formula(case):
    tensors, rest = inputs(**case["tensors"]), (case["relu"], case["pool"], case["used"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "CACHE_BYTES", case["bytes"])  # networks per piece: 1, some, all
        got = outcomes(affine, tensors, *rest)
    assert_equal(got, outcomes(plain_affine, tensors, *rest))


def test_small_caches_are_met_in_pieces(monkeypatch):
    x = torch.zeros(7, 3, 4, 5)
    monkeypatch.setattr(fused, "CACHE_BYTES", 2 * x.nbytes * 3 // 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert list(fused._pieces(x, x)) == [slice(0, 3), slice(3, 6), slice(6, 7)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_single_and_half_precision_are_kept(dtype, tolerance):
    tensors = inputs(6, (3, 4), 5, 2, PARTS, dtype=dtype)
    got = outcomes(affine, tensors, True, "mean", {0, 1, 2})
    assert {x.dtype for x in got} == {dtype}
    expected = outcomes(plain_affine, tensors, True, "mean", {0, 1, 2})
    assert_equal(got, expected, rtol=tolerance, atol=tolerance)


def test_inputs_need_not_be_contiguous():
    x, weight, part = inputs(4, (3, 3), 2, 2, [(True, True)])
    turned = [x.transpose(1, 2), weight.t(), part.transpose(1, 2)]
    expected = outcomes(plain_affine, turned, True, "sum", {0, 1, 2})
    assert_equal(outcomes(affine, turned, True, "sum", {0, 1, 2}), expected)


def test_gradients_are_made_for_those_who_ask():
    x, weight, one, two = inputs(3, (2, 3), 2, 2, [(True, False), (False, False)])
    for asking in (x, weight, one, two):
        rest = [t if t is asking else t.detach() for t in (x, weight, one, two)]
        out = affine(*rest[:2], True, "mean", *rest[2:])
        plain = plain_affine(*rest[:2], True, "mean", *rest[2:])
        (got,) = torch.autograd.grad(out[0].sum() + out[2].square().sum(), asking)
        (expected,) = torch.autograd.grad(plain[0].sum() + plain[2].square().sum(), asking)
        torch.testing.assert_close(got, expected)


# --- other ways to differentiate ----------------------------------------------------------------

options = pytest.mark.parametrize(
    ("relu", "pool"), [(r, p) for r in (False, True) for p in (None, "mean", "sum")], ids=str
)


def function_of(relu, pool):
    return lambda x, weight, *parts: Affine.apply(x, weight, relu, pool, *parts)


@options
def test_gradients_are_numerical_ones(relu, pool):
    tensors = inputs(2, (2, 3), 2, 2, PARTS[:3], seed=1)
    assert gradcheck(function_of(relu, pool), tensors, check_forward_ad=True)


@options
def test_second_derivatives_are_numerical_ones(relu, pool):
    assert gradgradcheck(function_of(relu, pool), inputs(2, (2, 2), 2, 2, PARTS[1:3], seed=1))


# as in a layer, the parts depend on x too: gradients that reach x through them come on top
def layered(function):
    def loss(x):
        weight = torch.linspace(-1, 1, 4, dtype=x.dtype).view(2, 2)
        one = x.mean(1, keepdim=True) @ weight.t()
        y, *summaries = function(x, weight, True, "mean", one, x.mean(2, keepdim=True))
        return (y**2).sum() + sum((s**3).sum() for s in summaries)

    return loss


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_also_reach_x_through_the_parts_made_of_it(create_graph):
    (x, _) = inputs(3, (2, 3), 2, 2, [])
    got, expected = (
        torch.autograd.grad(layered(function)(x), x, create_graph=create_graph)
        for function in (affine, plain_affine)
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    "transform",
    [vmap, grad, jacrev, jacfwd, hessian, lambda f: vmap(grad(f)), lambda f: vmap(hessian(f))],
    ids=["vmap", "grad", "jacrev", "jacfwd", "hessian", "vmap of grad", "vmap of hessian"],
)
def test_transforms_of_torch_func_see_the_plain_formula(transform):
    x = torch.randn(3, 1, 2, 3, 2, generator=rng(), dtype=torch.float64)
    got, expected = (transform(layered(function))(x) for function in (affine, plain_affine))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("over", range(3), ids=["x", "weight", "part"])
def test_one_input_alone_may_be_mapped_over(over):
    tensors = [t.detach() for t in inputs(3, (2, 3), 2, 2, [(True, False)])]
    tensors[over] = torch.stack([tensors[over], 2 * tensors[over]])
    in_dims = tuple(0 if i == over else None for i in range(3))
    got, expected = (
        vmap(lambda x, w, part, f=function: f(x, w, True, "sum", part), in_dims)(*tensors)
        for function in (affine, plain_affine)
    )
    assert_equal(got, expected)


# --- within a stack -----------------------------------------------------------------------------


def stack_gradients(function, tensors, above, backwards=1):
    """Gradients through three layers, one over the other, each with the others' summaries."""
    x, *weights = tensors
    h, part = x * 1, x.new_zeros(len(x), 1, 1, x.shape[-1])
    for weight in weights:
        h, first, second = function(h, weight, True, "mean", part)
        part = (first.mean(1) + second.mean(1)).view_as(part)
    for _ in range(backwards):
        got = torch.autograd.grad([h, first], tensors, above, retain_graph=True)
    return got


@pytest.mark.parametrize("backwards", [1, 2], ids=["once", "twice"])
def test_the_gradient_that_layers_hand_down_is_that_of_the_plain_stack(backwards, monkeypatch):
    monkeypatch.setattr(fused, "CACHE_BYTES", 2000)
    generator = rng(3)
    x = torch.randn(9, 3, 4, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64).unbind()
    tensors = [t.clone().requires_grad_() for t in (x, *weights)]
    above = [torch.randn_like(x), torch.randn_like(x[:, 0])]
    kept = copy.deepcopy(above)
    got = stack_gradients(affine, tensors, above, backwards)
    assert_equal(got, stack_gradients(plain_affine, tensors, above))
    assert_equal(above, kept)  # the buffer that is written over is never the caller's


def test_the_buffer_is_handed_down(monkeypatch):
    """Three layers of equal shapes write the gradient of x into one place."""
    places = []
    monkeypatch.setattr(
        fused,
        "_gradient_buffer",
        lambda x, g, f=fused._gradient_buffer: places.append(f(x, g)) or places[-1],
    )
    tensors = inputs(9, (3, 4), 5, 5, [])
    tensors = [tensors[0], tensors[1], tensors[1] * 1, tensors[1] * 2]
    stack_gradients(affine, tensors, [torch.ones(9, 3, 4, 5), torch.ones(9, 4, 5)])
    assert len({place.data_ptr() for place in places}) == 1


def test_a_layer_with_two_readers_gets_the_sum_of_their_gradients():
    tensors = inputs(4, (3, 2), 2, 2, [(False, False)])

    def twice(function):
        x, weight, part = tensors
        (y,) = function(x, weight, True, None, part)
        left = function(y, weight, False, "sum", part)
        right = function(y, weight.t(), True, "mean", part)
        loss = sum((t**2).sum() for t in (*left, *right)) + (y**3).sum()
        return torch.autograd.grad(loss, tensors)

    assert_equal(twice(affine), twice(plain_affine))


def test_a_retained_gradient_stays_as_it_was():
    x, weight, part = inputs(4, (3, 2), 2, 2, [(False, False)])
    retained = []
    for function in (affine, plain_affine):
        (low,) = function(x * 1, weight, True, None, part)
        low.retain_grad()
        (high,) = function(low, weight, True, None, part)
        (high**2).sum().backward()
        retained.append(low.grad)
    torch.testing.assert_close(*retained)


# --- within a model -----------------------------------------------------------------------------

MODELS = {
    "mean": {},
    "sum": {"pool": "sum"},
    "attention and heads": {"pool": "attention", "heads": 2},
    "max and norm": {"pool": "max", "norm": "layer"},
    "residual": {"residual": True, "activation": "gelu"},
    "in pieces": {"recompute": 2},
}


@pytest.mark.parametrize("output", [{"out_features": 2}, {"out_channels": 2}], ids=str)
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_model_is_that_of_the_plain_formula(options, output, monkeypatch):
    torch.manual_seed(0)
    net = DWSNet(SPACE, hidden_channels=3, layers=3, **output, **options).double()
    theta = torch.randn(5, SPACE.size, dtype=torch.float64, requires_grad=True)

    def outcome():
        out = net(theta)
        out = SPACE.flatten(out) if isinstance(out, dict) else out
        return [out, *torch.autograd.grad((out**2).sum(), [theta, *net.parameters()])]

    got = outcome()
    monkeypatch.setattr(dws.linear, "affine", plain_affine)
    assert_equal(got, outcome())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_is_one_graph_and_the_same(backend):
    torch.manual_seed(0)
    net = DWSNet(SPACE, hidden_channels=3, layers=2, out_features=2).double()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    theta = torch.randn(5, SPACE.size, dtype=torch.float64)
    results = []
    for model in (net, compiled):
        out = model(theta)
        results.append([out, *torch.autograd.grad((out**2).sum(), list(net.parameters()))])
    assert_equal(*results)


def test_autocast_multiplies_in_half_precision():
    x, weight, part = inputs(3, (2, 3), 4, 4, [(False, False)], dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (y,) = affine(x, weight, False, None, part * 0)
    assert torch.equal(y, torch.nn.functional.linear(x.bfloat16(), weight.bfloat16()).float())
