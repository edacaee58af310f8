"""Fit many small SIRENs at once: gradients and Adam by hand, buffers that are reused.

The specification is one ``nn.Sequential`` after another under ``torch.optim.Adam``; this module
does the same arithmetic for a batch of networks as ``[m, width, points]`` products, about a
fifth of the time per network and thread (``benchmarks/fitting.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dws import forward
from zoo_gen.errors import SourceError
from zoo_gen.recipe import Fit

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CACHE_POINTS = (
    8192  # points times networks in a batch: activations of width 32 stay in the L2 cache
)
MAX_BATCH = 64


@dataclass(frozen=True)
class Fitted:
    """Networks after fitting.

    Attributes:
        theta: ``[m, size]`` float32.
        loss: ``[m]``, mean squared error of the networks as they are.
        psnr: ``[m]`` in dB, for signals in [0, 1]: -10 log10(loss).
        diverged: ``[m]``, where weights or loss are not finite.
    """

    theta: Tensor
    loss: Tensor
    psnr: Tensor
    diverged: Tensor


def init(fit: Fit, seeds: list[int]) -> Tensor:
    """Initial weights ``[m, size]``, each row a function of the recipe and its own seed alone."""
    bounds = []
    layers = len(fit.widths) - 1
    for k, (fan_in, fan_out) in enumerate(zip(fit.widths, fit.widths[1:], strict=False)):
        default = 1 / sqrt(fan_in)  # of nn.Linear, for weights and biases
        hidden = sqrt(6 / fan_in) / fit.w0
        if fit.init == "siren":
            weight, bias = (1 / fan_in if k == 0 else hidden), default
        else:
            weight, bias = (default, default) if k == layers - 1 else (hidden, 0.0)
        bounds += [np.full(fan_in * fan_out, weight), np.full(fan_out, bias)]
    bound = np.concatenate(bounds).astype(np.float32)
    # PCG64 takes all 64 bits; torch's own CPU generator would use 32 of them, and collide
    draws = [np.random.Generator(np.random.PCG64(s)).random(len(bound), np.float32) for s in seeds]
    return torch.from_numpy((2 * np.stack(draws) - 1) * bound)


def fit_networks(
    fit: Fit,
    seeds: list[int],
    coordinates: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    progress: Callable[[int], None] = lambda done: None,
) -> Fitted:
    """Fit one network to each signal.

    Args:
        fit: the recipe.
        seeds: of the initialisations, one per network.
        coordinates: ``[points, d_in]``.
        targets: ``[m, points, d_out]``, in [0, 1].
        progress: called with the number of networks done since the last call.

    Returns:
        Weights and errors, in the order of the seeds. Networks that diverge are marked, not lost.

    Raises:
        SourceError: targets or coordinates with NaN or infinity.
    """
    if not (np.isfinite(targets).all() and np.isfinite(coordinates).all()):
        raise SourceError("a signal holds NaN or infinity; clean the source")
    x = torch.from_numpy(np.ascontiguousarray(coordinates.T))
    y = torch.from_numpy(np.ascontiguousarray(targets.transpose(0, 2, 1)))
    batch = max(4, min(MAX_BATCH, CACHE_POINTS // x.shape[1]))
    theta = init(fit, seeds)
    for start in range(0, len(seeds), batch):
        rows = slice(start, start + batch)
        optimizer = BatchedAdam(fit, theta[rows], x, y[rows])
        for _ in range(fit.steps):
            optimizer.step()
        progress(len(theta[rows]))
    error = render(fit, theta, coordinates) - torch.from_numpy(targets)
    loss = error.square().mean((1, 2))
    diverged = ~(torch.isfinite(loss) & torch.isfinite(theta).all(1))
    return Fitted(theta, loss, -10 * torch.log10(loss), diverged)


def render(fit: Fit, theta: Tensor, coordinates: npt.NDArray[np.float32]) -> Tensor:
    """What the networks draw: ``[m, points, d_out]``, about [0, 1]."""
    points = torch.from_numpy(np.ascontiguousarray(coordinates)).unsqueeze(0)
    batch = max(1, (1 << 20) // (points.shape[1] * max(fit.widths)))
    return torch.cat(
        [forward(fit.space, t, points, "sine", fit.w0) + fit.offset for t in theta.split(batch)]
    )


class BatchedAdam:
    """Adam on the squared errors of m networks, in place.

    Args:
        fit: the recipe.
        theta: ``[m, size]`` float32, contiguous rows; changed by every step.
        x: ``[d_in, points]``.
        y: ``[m, d_out, points]``.
    """

    def __init__(self, fit: Fit, theta: Tensor, x: Tensor, y: Tensor) -> None:
        m, points = len(theta), x.shape[1]
        self.fit, self.theta, self.y = fit, theta, y
        self.x = x.unsqueeze(0).expand(m, -1, -1)
        self.steps = 0
        self.grad = torch.zeros_like(theta)
        self.mean, self.square, self.scale = (torch.zeros_like(theta) for _ in range(3))
        self.weights, self.biases = _layers(fit, theta)
        self.weight_grads, self.bias_grads = _layers(fit, self.grad)
        self.hidden = [theta.new_empty(m, d, points) for d in fit.widths[1:]]
        self.slope = [theta.new_empty(m, d, points) for d in fit.widths[1:-1]]

    def step(self) -> None:
        """One full-batch gradient and one update of every network."""
        self._forward()
        self._backward()
        self.steps += 1
        self.mean.lerp_(self.grad, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(self.grad, self.grad, value=1 - BETA2)
        torch.sqrt(self.square, out=self.scale)
        self.scale.div_(sqrt(1 - BETA2**self.steps)).add_(EPSILON)
        rate = self.fit.learning_rate / (1 - BETA1**self.steps)
        self.theta.addcdiv_(self.mean, self.scale, value=-rate)

    def _forward(self) -> None:
        """Leave sin(w0 z) in ``hidden``, cos(w0 z) in ``slope``, and the output's error last."""
        below = self.x
        for weight, bias, z, slope in zip(
            self.weights, self.biases, self.hidden, [*self.slope, None], strict=True
        ):
            torch.baddbmm(bias.unsqueeze(-1), weight, below, out=z)
            if slope is not None:
                z.mul_(self.fit.w0)
                # NumPy's sine and cosine take half the time of torch's on these processors
                np.cos(z.numpy(), out=slope.numpy())
                np.sin(z.numpy(), out=z.numpy())
            below = z
        self.hidden[-1].add_(self.fit.offset).sub_(self.y)

    def _backward(self) -> None:
        """The gradient of the mean squared error of each network, into ``grad``."""
        delta = self.hidden[-1]
        delta.mul_(2 / prod(delta.shape[1:]))
        for k in reversed(range(len(self.weights))):
            below = self.hidden[k - 1] if k else self.x
            torch.sum(delta, -1, out=self.bias_grads[k])
            self.weight_grads[k].copy_(torch.bmm(delta, below.mT))
            if k:
                # the activations below have served: their buffer takes the gradient
                torch.bmm(self.weights[k].mT, delta, out=below)
                delta = self.slope[k - 1].mul_(below).mul_(self.fit.w0)


def _layers(fit: Fit, theta: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Views of the weights ``[m, out, in]`` and biases ``[m, out]`` of each layer."""
    tensors = fit.space.split(theta)
    layers = range(1, len(fit.widths))
    return [tensors[f"W{k}"][..., 0] for k in layers], [tensors[f"b{k}"][..., 0] for k in layers]
