"""Every execution of a fit equals the plain loop, fitting.py beside it."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
import torch
from fitting import EXECUTIONS, plain_loop
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoo_gen import Fit, Signals, SourceError
from zoo_gen.make.fit import fit_networks, init

executions = pytest.mark.parametrize("execution", EXECUTIONS)


def some_targets(signals: Signals, n: int) -> np.ndarray:
    return signals.targets(np.arange(n))


@executions
@pytest.mark.parametrize("widths", [(2, 8, 1), (2, 8, 7, 1), (2, 5, 6, 7, 1)])
@pytest.mark.parametrize("initial", ["siren", "paper"])
def test_weights_equal_the_plain_loops_after_a_few_steps(
    signals: Signals, widths: tuple[int, ...], initial: str, execution: str
) -> None:
    fit = Fit(widths, w0=10.0, init=initial, steps=5, learning_rate=1e-3)
    seeds, targets = [3, 1, 4], some_targets(signals, 3)
    fast = fit_networks(fit, seeds, signals.coordinates, targets, fitting=execution).theta
    slow = torch.stack(
        [plain_loop(fit, s, signals.coordinates, t) for s, t in zip(seeds, targets, strict=True)]
    )
    # Adam divides by the gradient's size: rounding of tiny gradients shows, scaled by the rate
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=2e-5)


@executions
def test_loss_is_within_a_percent_of_the_plain_loops_after_300_steps(
    signals: Signals, execution: str
) -> None:
    fit = Fit((2, 16, 16, 1), w0=3.0, init="paper", steps=300, learning_rate=2e-3)
    seeds, targets = list(range(4)), some_targets(signals, 4)
    fast = fit_networks(fit, seeds, signals.coordinates, targets, fitting=execution)
    slow = torch.stack(
        [plain_loop(fit, s, signals.coordinates, t) for s, t in zip(seeds, targets, strict=True)]
    )
    error = fit.forward_pass.render(fit.space, slow, signals.coordinates) - torch.from_numpy(
        targets
    )
    torch.testing.assert_close(fast.loss, error.square().mean((1, 2)), rtol=0.01, atol=0)


@executions
def test_mnist_fit_equals_the_plain_loop(mnist, execution: str) -> None:
    from zoo_gen import Idx

    signals = Idx(path=str(mnist)).load().limited(12)
    fit = Fit((2, 32, 32, 1), init="paper", steps=150)
    targets = some_targets(signals, 12)
    fast = fit_networks(fit, list(range(12)), signals.coordinates, targets, fitting=execution)
    for i in (0, 11):  # the first and last batch
        slow = plain_loop(fit, i, signals.coordinates, targets[i])[None]
        error = fit.forward_pass.render(fit.space, slow, signals.coordinates) - torch.from_numpy(
            targets[i]
        )
        torch.testing.assert_close(fast.loss[i], error.square().mean(), rtol=0.01, atol=0)


@hypothesis_settings(max_examples=10)
@given(st.permutations(list(range(70))))
def test_who_shares_the_batch_changes_a_row_by_rounding_only(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((9, 2), np.float32)
    targets = rng.random((70, 9, 1), np.float32)
    fit = Fit((2, 4, 1), w0=3.0, steps=5)
    straight = fit_networks(fit, list(range(70)), x, targets).theta
    shuffled = fit_networks(fit, order, x, targets[order]).theta
    torch.testing.assert_close(shuffled, straight[order], rtol=1e-4, atol=2e-5)


def test_loss_and_psnr_are_those_of_the_stored_weights(signals: Signals) -> None:
    fit = Fit((2, 8, 1), w0=3.0, steps=30, learning_rate=0.01)
    targets = some_targets(signals, 5)
    fitted = fit_networks(fit, list(range(5)), signals.coordinates, targets)
    picture = fit.forward_pass.render(fit.space, fitted.theta, signals.coordinates).numpy()
    mse = ((picture - targets) ** 2).mean((1, 2))
    np.testing.assert_allclose(fitted.loss, mse, rtol=1e-4)
    np.testing.assert_allclose(fitted.psnr, 10 * np.log10(1 / mse), rtol=1e-4)


@pytest.mark.parametrize(
    ("initial", "bounds"),
    [
        (
            "siren",
            [1 / 2, 1 / sqrt(2), sqrt(6 / 50) / 7, 1 / sqrt(50), sqrt(6 / 40) / 7, 1 / sqrt(40)],
        ),
        ("paper", [sqrt(6 / 2) / 7, 0, sqrt(6 / 50) / 7, 0, 1 / sqrt(40), 1 / sqrt(40)]),
    ],
)
def test_initial_weights_are_uniform_within_the_published_bounds(
    initial: str, bounds: list[float]
) -> None:
    fit = Fit((2, 50, 40, 1), w0=7.0, init=initial)
    theta = init(fit, list(range(300)))
    for bound, x in zip(bounds, fit.space.split(theta).values(), strict=True):
        assert x.abs().max() <= bound
        assert x.std().item() == pytest.approx(bound / sqrt(3), rel=0.1)


def test_seeds_that_share_their_low_32_bits_give_different_weights() -> None:
    a, b = init(Fit((2, 4, 1)), [5, 5 + 2**32])
    assert not torch.equal(a, b)


@executions
def test_a_diverging_network_is_marked(signals: Signals, execution: str) -> None:
    fit = Fit((2, 4, 1), steps=10, learning_rate=1e30)
    x, y = signals.coordinates, some_targets(signals, 2)
    assert fit_networks(fit, [0, 1], x, y, fitting=execution).diverged.all()
    calm = Fit((2, 4, 1), steps=10)
    assert not fit_networks(calm, [0, 1], x, y, fitting=execution).diverged.any()


def test_a_signal_with_nan_is_refused(signals: Signals) -> None:
    targets = some_targets(signals, 2)
    targets[1, 3] = np.nan
    with pytest.raises(SourceError, match="NaN"):
        fit_networks(Fit((2, 4, 1)), [0, 1], signals.coordinates, targets)


@executions
def test_progress_counts_every_network_once(signals: Signals, execution: str) -> None:
    told: list[int] = []
    tell: Callable[[int], None] = told.append
    fit = Fit((2, 4, 1), steps=1)
    targets = some_targets(signals, 30)
    fit_networks(fit, list(range(30)), signals.coordinates, targets, tell, execution)
    assert sum(told) == 30
