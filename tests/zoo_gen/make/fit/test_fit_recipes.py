"""Every recipe, in every execution, gives the plain loop's weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fitting import EXECUTIONS, plain_loop
from recipes import BASE, RECIPES, signals_for

from zoo_gen.make.fit import fit_networks, init
from zoo_gen.make.fit.choice import RUNS
from zoo_gen.make.fit.problem import Problem, losses, outputs


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", RECIPES)
def test_weights_equal_the_plain_loops(name: str, execution: str) -> None:
    fit = RECIPES[name]
    seeds = [2**40 + 3, 1, 4]
    x, y = signals_for(fit, 3)
    fast = fit_networks(fit, seeds, x, y, fitting=execution).theta
    slow = torch.stack([plain_loop(fit, s, x, t) for s, t in zip(seeds, y, strict=True)])
    # Adam divides by the gradient's size: rounding of tiny gradients shows, scaled by the rate
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_within_a_percent_of_the_plain_loops_after_many_steps(
    name: str, execution: str
) -> None:
    fit = replace(RECIPES[name], steps=200)
    x, y = signals_for(fit, 2)
    fast = fit_networks(fit, [5, 6], x, y, fitting=execution)
    slow = torch.stack([plain_loop(fit, s, x, t) for s, t in zip([5, 6], y, strict=True)])
    told = fit_networks(replace(fit, steps=1, learning_rate=1e-30), [5, 6], x, y)
    expected = losses(fit, outputs(fit, slow, fit.forward_pass.inputs(x)), torch.from_numpy(y))
    torch.testing.assert_close(fast.loss, expected, rtol=0.01, atol=1e-7)
    assert (fast.loss < told.loss).all()


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_member_stops_at_the_plain_loops_step_and_weights(execution: str) -> None:
    fit = replace(BASE, steps=25, learning_rate=0.01, target_loss=0.02)
    x, y = signals_for(fit, 90)
    seeds = list(range(90))
    fitted = fit_networks(fit, seeds, x, y, fitting=execution)
    early = fitted.steps < 25
    assert 5 < early.sum() < 90
    assert (fitted.loss[early] <= 0.02).all()
    for i in (0, 1, 70, 89):
        steps = int(fitted.steps[i])
        short = plain_loop(replace(fit, steps=max(steps, 1), target_loss=0.0), i, x, y[i])
        torch.testing.assert_close(fitted.theta[i], short, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_network_at_the_target_takes_no_step(execution: str) -> None:
    fit = replace(BASE, target_loss=10.0)
    x, y = signals_for(fit, 3)
    assert fit_networks(fit, [0, 1, 2], x, y, fitting=execution).steps.tolist() == [0, 0, 0]


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_who_diverges_leaves_and_the_others_go_on(execution: str) -> None:
    """A weight of 1e30 makes the loss of one network infinite, of the others nothing."""
    x, y = signals_for(BASE, 3)
    problem = Problem(BASE, [0, 1, 2], x, y)
    theta = init(BASE, problem.seeds)
    calm = theta.clone()
    theta[1] = 1e30
    steps = RUNS[execution](problem, theta, lambda done: None)
    RUNS[execution](problem, calm, lambda done: None)
    assert steps.tolist() == [6, -1, 6]
    torch.testing.assert_close(theta[[0, 2]], calm[[0, 2]])
