"""Fit one network after another in a compiled kernel: the door to ``kernel.c``.

A network of the usual sizes, its moments and a tile of its activations fit in the first-level
cache, so it is fitted to its end before the next begins: nobody shares its batch, and its weights
are the same to the bit whoever its neighbours are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_float, c_int, c_int32, c_int64, c_uint64

import numpy as np
import torch
from torch import Tensor

from zoo_gen.make.fit.compiler import kernel
from zoo_gen.make.fit.problem import Problem

LAYERS = 16  # most, as in kernel.c
ALIGNMENT = 64  # bytes
ACTIVATIONS = ("sine", "relu", "tanh", "gelu")
LOSSES = ("mse", "cross_entropy")


class _Recipe(ctypes.Structure):
    _fields_ = [
        ("layers", c_int32),
        ("widths", c_int32 * (LAYERS + 1)),
        *[(name, c_int32) for name in ("points", "drawn", "steps", "activation", "loss")],
        *[(name, c_float) for name in ("w0", "offset", "target", "decay", "keep", "add")],
        *[(name, c_float) for name in ("square", "rest", "epsilon")],
    ]


def run(problem: Problem, theta: Tensor, progress: Callable[[int], None]) -> Tensor:
    """Fit all members; as `zoo_gen.make.fit.eager.run`.

    Raises:
        NoCompilerError: the kernel cannot be built here.
    """
    fit, room = _functions()
    recipe = _recipe(problem)
    work = _aligned(room(byref(recipe)))
    x, y = np.ascontiguousarray(problem.x), np.ascontiguousarray(problem.y)
    factors, weights = np.ascontiguousarray(problem.factors), theta.numpy()
    steps = np.empty(len(weights), np.int64)
    for i, seed in enumerate(problem.seeds):
        places = [_place(a) for a in (x, y[i], factors)]
        steps[i] = fit(byref(recipe), *places, seed, _place(weights[i]), _place(work))
        progress(1)
    return torch.from_numpy(steps)


def _functions() -> tuple[Callable[..., int], Callable[..., int]]:
    library = kernel()
    fit, room = library.fit, library.room
    floats = POINTER(c_float)
    fit.argtypes = [POINTER(_Recipe), floats, floats, floats, c_uint64, floats, floats]
    fit.restype, room.restype = c_int, c_int64
    return fit, room


def _recipe(problem: Problem) -> _Recipe:
    fit, rule, widths = problem.fit, problem.rule, problem.fit.space.widths
    return _Recipe(
        layers=len(widths) - 1,
        widths=(c_int32 * (LAYERS + 1))(*widths),
        points=len(problem.x),
        drawn=fit.points_per_step,
        steps=fit.steps,
        activation=ACTIVATIONS.index(fit.activation),
        loss=LOSSES.index(fit.loss),
        w0=fit.w0,
        offset=fit.offset,
        target=fit.target_loss,
        decay=fit.weight_decay,
        keep=rule.keep,
        add=rule.add,
        square=rule.square,
        rest=1 - rule.square,
        epsilon=rule.epsilon,
    )


def _place(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> object:
    return array.ctypes.data_as(POINTER(c_float))


def _aligned(floats: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Zeros that begin at a whole line of the cache."""
    whole = np.zeros(floats + ALIGNMENT // 4, np.float32)
    start = -whole.ctypes.data % ALIGNMENT // 4
    return whole[start : start + floats]
