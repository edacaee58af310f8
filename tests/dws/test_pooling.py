"""Summaries that are not linear, and heads of attention: where they start, what they see."""

import re
from math import exp, sqrt

import pytest
import torch
from equivariance import (
    ALL_SPACES,
    PROPERTY,
    assert_equivariant,
    assert_same,
    random_features,
    randomised,
    rng,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st

from dws import EquivariantLinear, InvariantLinear, SetAttention, WeightSpace

SPACE = WeightSpace.mlp([2, 4, 3, 1])

kinds = pytest.mark.parametrize("kind", [EquivariantLinear, InvariantLinear])
spaces = pytest.mark.parametrize("space", ALL_SPACES.values(), ids=ALL_SPACES)


def started(kind, space, pool, seed=3, **options):
    """A layer as it is initialised."""
    torch.manual_seed(seed)
    return kind(space, 2, 3, pool, **options).double()


def drawn(kind, space, pool, channels=2, **options):
    return randomised(kind(space, channels, 3, pool, **options).double())


def as_dict(out):
    return out if isinstance(out, dict) else {"output": out}


# --- where they start ---------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["sum", "attention"])
@kinds
@spaces
def test_it_starts_as_the_same_map_as_mean_pooling(space, kind, pool):
    # biases too: those of the invariant layer are drawn after its weights
    x = random_features(space, 3, 2, rng())
    by_mean, other = (as_dict(started(kind, space, p)(x)) for p in ("mean", pool))
    # weights are drawn in float32, so that their division by the counts rounds there
    assert_same(other, by_mean, 1e-5)


@spaces
def test_heads_start_without_effect(space):
    x = random_features(space, 3, 2, rng())
    with_heads = started(EquivariantLinear, space, "mean", heads=2)
    without = started(EquivariantLinear, space, "mean")
    without.load_state_dict(with_heads.state_dict(), strict=False)
    assert_same(with_heads(x), without(x), 0)


# --- what they see ------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("pool", ["max", "attention"])
def test_it_is_not_mean_pooling(pool, kind):
    by_mean, other = drawn(kind, SPACE, "mean"), drawn(kind, SPACE, pool)
    by_mean.load_state_dict(other.state_dict(), strict=False)
    x = random_features(SPACE, 3, 2, rng())
    by_mean, other = as_dict(by_mean(x)), as_dict(other(x))
    assert all((other[name] - by_mean[name]).abs().max() > 0.1 for name in by_mean)


def with_entry(x, name, rank, change):
    """The features with one entry of a tensor changed: that of the given rank (-1: the largest)."""
    values = x[name].clone()
    place = values.flatten().argsort()[rank]
    values.view(-1)[place] += change
    return {**x, name: values}


@pytest.mark.parametrize("name", ["b1", "W2", "b2"])
def test_max_pooling_sees_the_largest_entry(name):
    layer = drawn(InvariantLinear, SPACE, "max", channels=1)
    x = random_features(SPACE, 1, 1, rng())
    assert (layer(with_entry(x, name, -1, 0.5)) - layer(x)).abs().max() > 0.01


@pytest.mark.parametrize("name", ["b1", "W2", "b2"])
def test_max_pooling_ignores_entries_below_the_largest(name):
    layer = drawn(InvariantLinear, SPACE, "max", channels=1)
    x = random_features(SPACE, 1, 1, rng())
    assert torch.equal(layer(with_entry(x, name, -2, -0.5)), layer(x))


@pytest.mark.parametrize("options", [{"pool": "attention"}, {"pool": "mean", "heads": 2}], ids=str)
@pytest.mark.parametrize("name", SPACE.names)
def test_with_attention_each_entry_changes_each_output(options, name):
    layer = drawn(EquivariantLinear, SPACE, **options)
    x = random_features(SPACE, 1, 2, rng())
    before = layer(x)
    for rank in range(x[name].numel()):
        after = layer(with_entry(x, name, rank, 0.5))
        assert all((after[n] != before[n]).any() for n in SPACE.names)


def test_every_score_of_attention_is_learned():
    for space in ALL_SPACES.values():
        if any(1 in shape for shape in space.shapes.values()):
            continue  # the weights of a lone neuron are 1 whatever its score
        layer = drawn(EquivariantLinear, space, "attention")
        space.flatten(layer(random_features(space, 3, 2, rng()))).square().sum().backward()
        assert all(score.grad.any() for score in layer.pooling.scores.values())


# --- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "attention"])
@spaces
def test_heads_are_equivariant(space, pool):
    assert_equivariant(drawn(EquivariantLinear, space, pool, heads=2), space, 2)


@spaces
def test_heads_have_an_effect_on_every_tensor_with_hidden_axes(space):
    with_heads = drawn(EquivariantLinear, space, "mean", heads=2)
    without = drawn(EquivariantLinear, space, "mean")
    without.load_state_dict(with_heads.state_dict(), strict=False)
    x = random_features(space, 3, 2, rng())
    for name, y in with_heads(x).items():
        change = (y - without(x)[name]).abs().max()
        assert (change > 0.01) == bool(space.hidden_axes(name)), name


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), seeds)
def test_set_attention_equals_a_loop_over_heads_and_neurons(n, d_in, d_out, heads, seed):
    layer = randomised(SetAttention(d_in, d_out, heads).double(), seed)
    x = torch.randn(2, n, d_in, generator=rng(seed), dtype=torch.float64)
    each = -(-d_in // heads)
    expected = torch.zeros(2, n, d_out, dtype=torch.float64)
    for i in range(2):
        queries, keys, values = (x[i] @ layer.inputs.weight.T).split(heads * each, dim=1)
        for head in range(heads):
            own = slice(head * each, (head + 1) * each)
            for a in range(n):
                logits = keys[:, own] @ queries[a, own] / sqrt(each)
                scores = [exp(logit.item()) for logit in logits]
                for b in range(n):
                    mixed = layer.output.weight[:, own] @ values[b, own]
                    expected[i, a] += scores[b] / sum(scores) * mixed
    torch.testing.assert_close(layer(x), expected)


def test_fewer_heads_than_one_are_refused():
    with pytest.raises(ValueError, match=re.escape("heads must be 1 or more, got -1")):
        EquivariantLinear(SPACE, 2, 3, heads=-1)
