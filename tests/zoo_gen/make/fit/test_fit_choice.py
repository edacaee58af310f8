"""Which execution fits, and what happens where one cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo_gen import (
    Digits,
    Fit,
    LocalEngine,
    Recipe,
    Signals,
    SourceError,
    Store,
    ZooError,
    generate,
)
from zoo_gen.make.fit import choose, compiler, eager, fit_networks
from zoo_gen.make.fit.compiler import NoCompilerError, kernel
from zoo_gen.make.fit.gradients import Gradients
from zoo_gen.zoo.shards import decode

MNIST = Fit((2, 32, 32, 1))
SMALL = Fit((2, 8, 1), w0=3.0, steps=20)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache of kernels, and nothing told or built yet."""
    monkeypatch.setenv("DWSZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("zoo_gen.log._logged", set())
    kernel.cache_clear()
    yield tmp_path / "cache"
    kernel.cache_clear()


@pytest.mark.parametrize(
    ("fitting", "fit", "members", "expected"),
    [
        ("auto", MNIST, 1000, "compiled"),
        ("auto", SMALL, 1000, "eager"),  # too small to pay for a compiler
        ("compiled", SMALL, 1, "compiled"),
        ("eager", MNIST, 1000, "eager"),
    ],
)
def test_the_choice_follows_recipe_and_machine(
    fitting: str, fit: Fit, members: int, expected: str
) -> None:
    assert choose(fitting, fit, members, 784) == expected


def test_without_a_compiler_the_eager_fit_goes_on_and_says_so_once(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    for _ in range(2):
        assert choose("auto", MNIST, 1000, 784) == "eager"
    assert [r.message for r in caplog.records] == [
        "there is no C compiler here (no-such-compiler): fitting without, about four times slower"
    ]


def test_a_compiler_that_fails_is_told_with_its_reason(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'kernel.c:1: no more' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(NoCompilerError, match=r"failed \(kernel\.c:1: no more\)"):
        kernel()


def test_more_layers_than_the_kernel_takes_are_fitted_without(
    fresh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose("compiled", Fit((2, *[4] * 16, 1)), 1, 9) == "eager"
    assert "takes up to 16 layers, these have 17" in caplog.text


BUILD = """
import sys
from zoo_gen.make.fit import compiler
run, builds = compiler._ran, []
def counted(command):
    builds.append("-o" in command)
    return run(command)
compiler._ran = counted
compiler.kernel()
print(sum(builds))
"""


def test_many_processes_build_the_kernel_once(fresh: Path) -> None:
    command = [sys.executable, "-c", BUILD]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    built = [int(process.communicate(timeout=120)[0]) for process in running]
    assert sum(built) == 1
    assert len(list(fresh.glob("fit-*.so"))) == 1


def test_a_cache_that_cannot_be_written_is_replaced_by_a_private_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DWSZOO_CACHE", str(tmp_path / "file" / "below"))
    folder = compiler.cache_folder()
    assert folder.is_dir()
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_the_private_one_is_the_same_for_all_and_ends_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    program = (
        "from zoo_gen.make.fit.compiler import cache_folder, kernel; kernel()"
        "; print(*(file.suffix for file in sorted(cache_folder().iterdir())))"
    )
    places = {"DWSZOO_CACHE": str(tmp_path / "file" / "below"), "TMPDIR": str(tmp_path / "tmp")}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | places, capture_output=True, text=True
    )
    assert ran.stdout == ".so .lock\n", ran.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_where_memory_is_full_the_batch_is_halved_and_every_network_fitted(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((9, 2), np.float32), rng.random((20, 9, 1), np.float32)
    expected = fit_networks(SMALL, list(range(20)), x, y, fitting="eager")
    whole = Gradients.__init__

    def scarce(self: Gradients, fit: Fit, theta: torch.Tensor, points: int) -> None:
        if len(theta) > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        whole(self, fit, theta, points)

    monkeypatch.setattr(Gradients, "__init__", scarce)
    fitted = fit_networks(SMALL, list(range(20)), x, y, fitting="eager")
    torch.testing.assert_close(fitted.theta, expected.theta, rtol=1e-4, atol=2e-5)
    assert [r.message for r in caplog.records] == [
        "memory is full: fewer networks are fitted at once from here on"
    ]


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    assert not eager.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("points", "targets", "told"),
    [
        ((9, 2), (2, 8, 1), r"shape \[2, 8, 1\]"),
        ((9, 1), (2, 9, 1), r"shape \[9, 1\]"),
        ((0, 2), (2, 0, 1), "without points"),
        ((9, 2), (2, 9, 2), r"shape \[2, 9, 2\]"),
    ],
)
def test_signals_of_another_size_are_refused(
    points: tuple[int, ...], targets: tuple[int, ...], told: str
) -> None:
    x, y = np.zeros(points, np.float32), np.zeros(targets, np.float32)
    with pytest.raises(SourceError, match=told):
        fit_networks(SMALL, [0, 1], x, y)


def test_cross_entropy_refuses_targets_that_are_no_probabilities() -> None:
    x, y = np.zeros((9, 2), np.float32), np.full((1, 9, 1), -1, np.float32)
    with pytest.raises(SourceError, match=r"in \[-1, -1\]; take mse"):
        fit_networks(Fit((2, 8, 1), loss="cross_entropy"), [0], x, y)


@pytest.mark.parametrize("fitting", ["eager", "compiled"])
def test_a_shard_tells_what_fitted_it_and_is_the_same_bytes_again(
    tmp_path: Path, recipe: Recipe, signals: Signals, fitting: str
) -> None:
    first, second = Store(str(tmp_path / "a")), Store(str(tmp_path / "b"))
    name = f"{recipe.folder}/shards/part-00000.parquet"
    for store in (first, second):
        generate(store, recipe, signals, LocalEngine(), fitting=fitting)
    assert decode(first.read(name), name)[1]["fitting"] == fitting
    assert first.read(name) == second.read(name)


def test_a_recipe_under_which_most_diverge_stops(
    tmp_path: Path, recipe: Recipe, signals: Signals
) -> None:
    wild = replace(recipe.zoo, fit=replace(recipe.zoo.fit, learning_rate=1e30))
    recipe = Recipe.of("wild", Digits(), signals, wild)
    with pytest.raises(ZooError, match=r"of 64 networks diverged.*zoo.most_diverged \(0.5\)"):
        generate(Store(str(tmp_path)), recipe, signals, LocalEngine())
    calm = Recipe.of("wild", Digits(), signals, replace(wild, most_diverged=1.0))
    assert calm.hash8 == recipe.hash8
    assert generate(Store(str(tmp_path)), calm, signals, LocalEngine()).diverged == 26
