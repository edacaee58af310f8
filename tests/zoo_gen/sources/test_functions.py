"""Sines are the functions that their columns tell."""

from __future__ import annotations

from math import pi

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoo_gen import ConfigError, Fit, LocalEngine, Recipe, Sine, Sines, Split, Store, Zoo
from zoo_gen.make.generate import generate

RANGES = st.tuples(st.floats(-5, 5), st.floats(0, 5)).map(lambda r: (r[0], r[0] + r[1]))


@hypothesis_settings(max_examples=25)
@given(RANGES, RANGES, st.integers(1, 4), st.integers(0, 3))
def test_values_are_the_sum_that_the_columns_tell(
    amplitude: tuple[float, float], frequency: tuple[float, float], terms: int, seed: int
) -> None:
    source = Sines(
        terms=terms, amplitude=amplitude, frequency=frequency, points=9, count=5, seed=seed
    )
    signals = source.load()
    x = np.linspace(-pi, pi, 9)
    for i, found in enumerate(signals.targets(np.arange(5))):
        expected = np.zeros(9)
        for k in range(1, terms + 1):
            a, b = (float(signals.columns[f"{c}_{k}"][i]) for c in ("amplitude", "frequency"))
            expected += a * np.sin(b * x)
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_one_sine_is_a_sum_of_one() -> None:
    one, sums = (
        kind(amplitude=(1.0, 2.0), count=4).load()
        for kind in (Sine, lambda **o: Sines(terms=1, **o))
    )
    np.testing.assert_array_equal(one.values, sums.values)
    np.testing.assert_array_equal(one.columns["amplitude"], sums.columns["amplitude_1"])
    np.testing.assert_array_equal(one.columns["frequency"], sums.columns["frequency_1"])


def test_coefficients_fill_their_range_evenly() -> None:
    columns = Sine(amplitude=(2.0, 4.0), frequency=(0.5, 10.0), points=2, count=4000).load().columns
    for name, (low, high) in (("amplitude", (2, 4)), ("frequency", (0.5, 10))):
        quantiles = np.quantile(columns[name], [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(quantiles, np.linspace(low, high, 5), atol=0.05 * (high - low))
    assert abs(np.corrcoef(columns["amplitude"], columns["frequency"])[0, 1]) < 0.05


def test_terms_are_in_the_order_of_their_frequencies() -> None:
    columns = Sines(terms=4, points=2, count=50).load().columns
    frequencies = np.stack([columns[f"frequency_{k}"] for k in range(1, 5)])
    assert (np.diff(frequencies, axis=0) > 0).all()


def test_the_first_signals_are_the_same_whatever_the_count() -> None:
    few, many = Sine(count=5).load(), Sine(count=50).load()
    np.testing.assert_array_equal(few.values, many.values[:5])


def test_a_fixed_amplitude_leaves_the_frequencies_as_they_were() -> None:
    fixed, drawn = Sine(count=5).load(), Sine(amplitude=(0.0, 1.0), count=5).load()
    assert set(fixed.columns["amplitude"]) == {1.0}
    np.testing.assert_array_equal(fixed.columns["frequency"], drawn.columns["frequency"])


def test_the_seed_draws_anew() -> None:
    assert Sine(count=5, seed=1).load().fingerprint != Sine(count=5).load().fingerprint


def test_networks_take_x_as_it_is() -> None:
    x = Sine(domain=(2.0, 7.0), points=6, count=1).load().coordinates
    assert x.tolist() == [[2.0], [3.0], [4.0], [5.0], [6.0], [7.0]]


WRONG = {
    "amplitude: got .3, 1., expected .low, high": {"amplitude": (3, 1)},
    "frequency: got .nan, nan.": {"frequency": float("nan")},
    "frequency: got .0, inf.": {"frequency": (0, float("inf"))},
    "domain: got .1, 1.": {"domain": (1, 1)},
    "points: got 1, expected 2": {"points": 1},
    "count: got 0, expected 1": {"count": 0},
    "seed: got -1, expected 0": {"seed": -1},
    "terms: got 0, expected 1": {"terms": 0},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_are_told_by_their_key(message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Sines(**WRONG[message])


def test_a_zoo_of_sines_keeps_coefficients_and_has_no_psnr(
    tmp_path: pytest.TempPathFactory,
) -> None:
    signals = Sine(points=20, count=12).load()
    zoo = Zoo(Fit((1, 3, 1), steps=2), Split(8, 2, 2), rows_per_shard=20)
    recipe = Recipe.of("sines", Sine(points=20, count=12), signals, zoo)
    generate(Store(str(tmp_path)), recipe, signals, LocalEngine())
    shard = f"{tmp_path}/{recipe.folder}/shards/part-00000.parquet"
    schema = {f.name: str(f.type) for f in pq.read_schema(shard)}
    frame = pd.read_parquet(shard)
    assert (schema["amplitude"], schema["frequency"]) == ("float", "float")
    assert frame["frequency"].tolist() == signals.columns["frequency"].tolist()
    assert frame["psnr"].isna().all()
    assert frame["loss"].notna().all()
