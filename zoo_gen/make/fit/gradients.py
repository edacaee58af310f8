"""Losses and gradients of m MLPs at once, by hand, in buffers ``[m, width, points]``."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from zoo_gen.make.fit.problem import losses
from zoo_gen.recipe.fit import Fit


class Gradients:
    """The losses of m networks and their gradients.

    Args:
        fit: the recipe.
        theta: ``[m, size]`` float32, contiguous rows; read at every call.
        points: of a step.

    Attributes:
        grad: ``[m, size]``; overwritten by every call.
    """

    def __init__(self, fit: Fit, theta: Tensor, points: int) -> None:
        m, widths = len(theta), fit.space.widths
        self.fit = fit
        self.grad = torch.zeros_like(theta)
        self.weights, self.biases = _layers(fit, theta)
        self.weight_grads, self.bias_grads = _layers(fit, self.grad)
        self.hidden = [theta.new_empty(m, d, points) for d in widths[1:]]
        self.slope = [theta.new_empty(m, d, points) for d in widths[1:-1]]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Losses ``[m]``, and their gradients into ``grad``.

        Args:
            x: ``[m, n_0, points]``.
            y: ``[m, n_M, points]``.
        """
        below, top = x, len(self.weights) - 1
        for k, (weight, bias, z) in enumerate(
            zip(self.weights, self.biases, self.hidden, strict=True)
        ):
            torch.baddbmm(bias.unsqueeze(-1), weight, below, out=z)
            if k < top:
                activate(self.fit, z, self.slope[k])
            below = z
        out = self.hidden[-1].add_(self.fit.offset)
        loss = losses(self.fit, out, y)
        if self.fit.loss == "cross_entropy":
            delta = out.sigmoid_().sub_(y).div_(prod(y.shape[1:]))
        else:
            delta = out.sub_(y).mul_(2 / prod(y.shape[1:]))
        for k in reversed(range(len(self.weights))):
            below = self.hidden[k - 1] if k else x
            torch.sum(delta, -1, out=self.bias_grads[k])
            self.weight_grads[k].copy_(torch.bmm(delta, below.mT))
            if k:
                # the activations below have served: their buffer takes the gradient
                torch.bmm(self.weights[k].mT, delta, out=below)
                delta = self.slope[k - 1].mul_(below)
        return loss


def activate(fit: Fit, z: Tensor, slope: Tensor) -> None:
    """Leave f(z) in ``z`` and f'(z) in ``slope``."""
    if fit.activation == "sine":
        z.mul_(fit.w0)
        if z.is_cuda:
            torch.cos(z, out=slope)
            z.sin_()
        else:  # NumPy's sine and cosine take half the time of torch's on these processors
            np.cos(z.numpy(), out=slope.numpy())
            np.sin(z.numpy(), out=z.numpy())
        slope.mul_(fit.w0)
    elif fit.activation == "relu":
        slope.copy_(z > 0)
        z.relu_()
    elif fit.activation == "tanh":
        z.tanh_()
        torch.mul(z, z, out=slope).neg_().add_(1)
    else:
        below = torch.special.ndtr(z)
        torch.mul(z, z, out=slope).mul_(-0.5).exp_().mul_(z).mul_(0.3989422804).add_(below)
        z.mul_(below)


def _layers(fit: Fit, theta: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Views of the weights ``[m, out, in]`` and biases ``[m, out]`` of each layer."""
    tensors = fit.space.split(theta)
    layers = range(1, len(fit.space.widths))
    return [tensors[f"W{k}"][..., 0] for k in layers], [tensors[f"b{k}"][..., 0] for k in layers]
