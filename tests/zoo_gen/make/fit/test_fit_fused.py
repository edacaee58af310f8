"""The fused fit, as far as a machine without GPU can tell: under Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes import RECIPES

from zoo_gen import Fit
from zoo_gen.make.fit import choose, fused
from zoo_gen.make.fit.choice import wants_gpu
from zoo_gen.make.fit.problem import Problem

HERE = Path(__file__).parent
MNIST = Fit((2, 32, 32, 1))

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """What every recipe gave: name -> its line."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    ran = subprocess.run(
        [sys.executable, str(HERE / "fused_against_plain.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {line["name"]: line for line in lines}


@needs_triton
@pytest.mark.parametrize("name", [n for n, fit in RECIPES.items() if not fused.beyond(fit)])
def test_weights_equal_the_plain_loops(name: str, interpreted: dict[str, Any]) -> None:
    assert max(interpreted[name]["apart"]) < 2e-5
    assert interpreted[name]["steps"] == [6, 6, 6]


@needs_triton
def test_members_stop_at_the_plain_loops_weights(interpreted: dict[str, Any]) -> None:
    line = interpreted["stopping"]
    assert min(line["steps"]) < 3 < max(line["steps"])  # in the first launch, and later
    assert max(line["apart"]) < 2e-5


@needs_triton
def test_a_member_that_diverges_is_told_from_the_others(interpreted: dict[str, Any]) -> None:
    line = interpreted["diverging"]
    assert line["steps"] == [6, -1, 6]
    assert max(line["apart"][0], line["apart"][2]) < 2e-5


@needs_triton
def test_every_member_is_told_once(interpreted: dict[str, Any]) -> None:
    assert {line["told"] for line in interpreted.values()} == {3}


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from zoo_gen.make.fit.triton_kernel import fit_steps

shapes = dict(SIZE=1316, N=32, T=32, IN=2, OUT=1, HIDDEN=2, ACTIVATION=0, CROSS=False, SCALED=True,
              RANDOM=False, PRECISION=sys.argv[1])
kinds = {name: "*i32" for name in ("members", "seeds", "steps", "state")}
kinds |= {name: "i32" for name in ("points", "drawn", "first", "last")}
kinds |= {name: "fp32" for name in ("w0", "offset", "target")} | dict.fromkeys(shapes, "constexpr")
signature = {name: kinds.get(name, "*fp32") for name in fit_steps.arg_names}
made = triton.compile(ASTSource(fit_steps, signature, shapes), target=GPUTarget("cuda", 90, 32))
print(made.metadata.shared)
"""


@needs_triton
@pytest.mark.parametrize("precision", fused.PRECISIONS)
def test_the_kernel_compiles_for_an_h100_within_its_shared_memory(precision: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE, precision],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 227 * 1024


@pytest.mark.parametrize("widths", [(2, 32, 32, 1), (1, 7, 3), (3, 64, 20, 64, 64, 4)])
def test_the_layout_gives_every_weight_a_place_of_its_own(widths: tuple[int, ...]) -> None:
    fit = Fit(widths)
    layout = fused.Layout.of(fit)
    assert len(layout.place.unique()) == fit.space.size
    assert int(layout.place.max()) < layout.size


@pytest.mark.parametrize(
    "widths", [(4, 8, 1), (2, 65, 1), (2, 8, 5), (2, 8, 8, 8, 8, 8, 1)], ids=str
)
def test_networks_beyond_the_kernel_are_named(widths: tuple[int, ...]) -> None:
    assert f"these are {'-'.join(map(str, widths))}" in str(fused.beyond(Fit(widths)))


@pytest.mark.parametrize(
    ("fitting", "fit", "members", "expected"),
    [
        ("auto", MNIST, 10_000, "fused"),
        ("auto", MNIST, 100, "compiled"),  # done before a kernel for the GPU is built
        ("auto", Fit((2, 128, 1)), 10_000, "batched"),
        ("fused", MNIST, 1, "fused"),
        ("compiled", MNIST, 10_000, "compiled"),
    ],
)
@needs_triton
def test_a_gpu_is_used_where_there_is_one(
    fitting: Any, fit: Fit, members: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose(fitting, fit, members, 784) == expected


def test_without_a_gpu_the_fused_fit_is_replaced_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("zoo_gen.log._logged", set())
    assert choose("fused", MNIST, 1, 784) == "compiled"
    assert "needs a GPU that torch can use, there is none" in caplog.text


def test_tasks_ask_for_a_gpu_where_the_zoo_is_worth_it() -> None:
    large, small = (MNIST.gpu_operations(members, 784) for members in (10_000, 100))
    assert wants_gpu("auto", large)
    assert not wants_gpu("auto", small)
    assert not wants_gpu("compiled", large)
    assert wants_gpu("fused", small)


def test_where_the_gpu_s_memory_is_full_the_members_are_halved_and_all_fitted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("zoo_gen.log._logged", set())

    def scarce(problem: Problem, theta: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(theta) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        theta.copy_(torch.from_numpy(problem.y[:, 0]))
        return torch.tensor(problem.seeds)

    monkeypatch.setattr(fused, "_run", scarce)
    fit, y = Fit((2, 4, 1)), np.arange(7, dtype=np.float32).reshape(7, 1, 1)
    theta = torch.zeros(7, 1)
    steps = fused.run(Problem(fit, list(range(7)), y[0], y), theta, lambda done: None)
    assert steps.tolist() == theta[:, 0].tolist() == list(range(7))
    assert len(caplog.records) == 1
