"""Values that are drawn: within their range, spread as told, refused with what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_gen import ConfigError, Draw
from zoo_gen.recipe.draws import sampled


def samples(draw: Draw, count: int = 4000) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.array([draw.sample(generator) for _ in range(count)])


@given(st.floats(1e-30, 1e30), st.floats(1.0001, 1e6), st.integers(0, 2**32))
def test_what_is_drawn_is_within_its_bounds(low: float, factor: float, seed: int) -> None:
    high = low * factor
    for draw in (Draw(uniform=(low, high)), Draw(log_uniform=(low, high))):
        assert low <= float(draw.sample(np.random.default_rng(seed))) <= high


def test_uniform_has_its_mean_in_the_middle() -> None:
    assert samples(Draw(uniform=(2.0, 6.0))).mean() == pytest.approx(4, rel=0.02)


def test_log_uniform_has_its_median_in_the_geometric_middle() -> None:
    assert np.median(samples(Draw(log_uniform=(1e-4, 1e-2)))) == pytest.approx(1e-3, rel=0.1)


def test_each_of_a_choice_is_as_likely() -> None:
    drawn = samples(Draw(choice=("a", "b", "c")))
    assert (np.unique(drawn, return_counts=True)[1] > 1200).all()


def test_what_is_no_draw_is_itself() -> None:
    assert sampled(0.3, np.random.default_rng(0)) == 0.3


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "uniform, log_uniform or choice: got none, expected exactly one"),
        ({"uniform": (0, 1), "choice": (1,)}, "got uniform and choice, expected exactly one"),
        ({"uniform": (1, 1)}, r"uniform: got \[1, 1\], expected two numbers, the smaller first"),
        ({"uniform": (0, float("inf"))}, "uniform: got .*, expected two numbers"),
        ({"log_uniform": (0, 1)}, r"log_uniform: got \[0, 1\], expected numbers above 0"),
        ({"choice": ()}, r"choice: got \[\], expected different values"),
        ({"choice": (1, 1)}, r"choice: got \[1, 1\], expected different values"),
    ],
)
def test_a_bad_draw_is_told(told: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Draw(**told)


@given(st.sampled_from(["uniform", "log_uniform"]), st.floats(0.1, 1), st.floats(2, 3))
def test_a_draw_is_read_from_what_yaml_has(kind: str, low: float, high: float) -> None:
    draw = Draw.read({kind: [low, high]})
    assert (draw.distribution, draw.bounds) == (kind, (low, high))
    assert [draw.contains(x) for x in (low, high + 1, "2.5")] == [True, False, False]


@pytest.mark.parametrize(
    ("message", "plain"),
    {
        "uniform: got [1], expected [least, most], two numbers": {"uniform": [1]},
        "uniform: got [1, true], expected [least, most], two numbers": {"uniform": [1, True]},
        "choice: got 3, expected a list of values": {"choice": 3},
        'choice: got [{"a": 1}], expected a list of values': {"choice": [{"a": 1}]},
        "unform: unknown key; allowed: uniform, log_uniform, choice": {"unform": [1, 2]},
    }.items(),
)
def test_what_is_no_draw_is_refused(message: str, plain: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        Draw.read(plain)
    assert str(caught.value) == message
