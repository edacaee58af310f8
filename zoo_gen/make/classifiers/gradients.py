"""Cross-entropy and its gradient for m classifiers at once, by hand, in buffers that are reused.

A layer is one matrix product per network, ``[out, in] x [in, places * images]``: a dense layer has
one place, a convolution one for every output pixel, its inputs the taps of the kernel. The last
layer sees the mean over places. The images come last in memory, so that taps are copied in rows.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from dws import WeightSpace
from zoo_gen.recipe.architectures import Architecture, Cnn
from zoo_gen.sources.labelled import InputShape

aten: Any = torch.ops.aten


class Dense:
    """A linear layer; places 1."""

    def __init__(self, weight: Tensor, bias: Tensor, grads: tuple[Tensor, Tensor]) -> None:
        self.weight, self.bias, self.grads = weight, bias.unsqueeze(-1), grads
        self.below = weight

    def forward(self, below: Tensor) -> Tensor:
        """``[k, in, images]`` to ``[k, out, images]``, for the first k networks."""
        self.below, k = below, len(below)
        return torch.baddbmm(self.bias[:k], self.weight[:k], below)

    def backward(self, delta: Tensor, first: bool) -> Tensor:
        """The gradient below (but for the first layer) from that above; keeps the weights'."""
        _keep(self.grads, delta, self.below)
        return delta if first else torch.bmm(self.weight[: len(delta)].mT, delta)


class Convolution:
    """A convolution with a square kernel, padded by half of it.

    Args:
        weight: ``[m, out, in, taps]``.
        bias: ``[m, out]``.
        grads: where their gradients go, of the same shapes.
        size: height and width of the images below.
        stride: of the kernel.
        images: how many.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        grads: tuple[Tensor, Tensor],
        size: tuple[int, int],
        stride: int,
        images: int,
    ) -> None:
        m, _, c, taps = weight.shape
        self.weight, self.bias = weight.flatten(2), bias.unsqueeze(-1)
        self.grads = grads[0].flatten(2), grads[1]
        self.size, self.stride, self.side = size, stride, round(taps**0.5)
        self.margin = self.side // 2
        self.padded = weight.new_zeros(m, c, *(n + 2 * self.margin for n in size), images)
        self.places = tuple((n - 1) // stride + 1 for n in size)
        self.taps = weight.new_empty(m, c, self.side, self.side, *self.places, images)
        out = weight.shape[1]
        # buffers of this size are slow to allocate anew at every step
        self.above = weight.new_empty(m, out, images * self.places[0] * self.places[1])
        self.padded_grad = torch.empty_like(self.padded)
        self.grad = weight.new_empty(m, c, *size, images)

    def forward(self, below: Tensor) -> Tensor:
        """``[k, in, h, w, images]``, or that flattened, to ``[k, out, places * images]``."""
        k, inside = len(below), _inside(self.padded[: len(below)], self.margin)
        inside.copy_(below if below.ndim == 5 else below.view(inside.shape))
        for i, j, window in self._windows(self.padded[:k]):
            self.taps[:k, :, i, j].copy_(window)
        above = self.above[:k]
        return torch.baddbmm(self.bias[:k], self.weight[:k], self._columns(k), out=above)

    def backward(self, delta: Tensor, first: bool) -> Tensor:
        """The gradient below (but for the first layer) from that above; keeps the weights'."""
        k = len(delta)
        columns = self._columns(k)
        _keep(self.grads, delta, columns)
        if first:
            return delta
        # the taps have served: their buffer takes the gradient
        torch.bmm(self.weight[:k].mT, delta, out=columns)
        grad = self.padded_grad[:k].zero_()
        for i, j, window in self._windows(grad):
            window.add_(self.taps[:k, :, i, j])
        return self.grad[:k].copy_(_inside(grad, self.margin)).flatten(2)

    def _columns(self, k: int) -> Tensor:
        return self.taps[:k].view(k, self.weight.shape[2], -1)

    def _windows(self, padded: Tensor) -> list[tuple[int, int, Tensor]]:
        """What each tap of the kernel sees."""
        high, wide = ((n - 1) * self.stride + 1 for n in self.places)
        return [
            (i, j, padded[:, :, i : i + high : self.stride, j : j + wide : self.stride])
            for i in range(self.side)
            for j in range(self.side)
        ]


class Gradients:
    """The gradients of m classifiers of one architecture and activation.

    Args:
        network: the architecture.
        space: of its weights.
        theta: ``[m, size]``, read at every call.
        image: channels, height, width.
        batch: images per network.
        activation: relu or tanh.
    """

    def __init__(
        self,
        network: Architecture,
        space: WeightSpace,
        theta: Tensor,
        image: InputShape,
        batch: int,
        activation: str,
    ) -> None:
        self.image, self.batch, self.activation = image, batch, activation
        self.convolution = isinstance(network, Cnn)
        self.grad = torch.zeros_like(theta)
        weights, grads = space.split(theta), space.split(self.grad)
        size, depth = (image[1], image[2]), len(space.hidden) + 1
        self.layers: list[Dense | Convolution] = []
        for k in range(1, depth + 1):
            weight, bias = weights[f"W{k}"][..., 0], weights[f"b{k}"][..., 0]
            own = grads[f"W{k}"][..., 0], grads[f"b{k}"][..., 0]
            if isinstance(network, Cnn) and k < depth:
                layer = Convolution(weight, bias, own, size, network.stride, batch)
                self.layers.append(layer)
                size = (layer.places[0], layer.places[1])
            else:
                self.layers.append(Dense(weight, bias, own))

    def __call__(self, x: Tensor, label: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        """Gradients of the mean cross-entropy of the first k networks.

        Args:
            x: ``[k, batch, channels * height * width]``.
            label: int64 ``[k, batch]``.
            masks: for each hidden layer ``[k, n, batch]``: 0 where a neuron is left out, else
                1 / (1 - dropout).

        Returns:
            ``[k, size]``; overwritten by the next call.
        """
        hidden: list[Tensor] = []
        h = self._images(x)
        for n, layer in enumerate(self.layers):
            z = layer.forward(h)
            if n == len(self.layers) - 1:
                break
            hidden.append(torch.relu_(z) if self.activation == "relu" else torch.tanh_(z))
            h = z if masks is None else self._masked(z.clone(), masks[n])
            if self.convolution and n == len(self.layers) - 2:
                h = h.unflatten(2, (-1, self.batch)).mean(2)
        delta: Tensor = torch.softmax(z, 1)
        delta.scatter_add_(1, label.unsqueeze(1), -torch.ones_like(x[:, None, :, 0]))
        delta.mul_(1 / self.batch)
        for n in reversed(range(len(self.layers))):
            delta = self.layers[n].backward(delta, n == 0)
            if n:
                delta = self._below(delta, hidden[n - 1], None if masks is None else masks[n - 1])
        return self.grad[: len(x)]

    def _images(self, x: Tensor) -> Tensor:
        """A batch as the first layer takes it: the images last."""
        if not self.convolution:
            return x.transpose(1, 2)
        c, high, wide = self.image
        return x.view(len(x), self.batch, c, high, wide).permute(0, 2, 3, 4, 1)

    def _below(self, delta: Tensor, h: Tensor, mask: Tensor | None) -> Tensor:
        """Through the mean over places, the mask and the activation, given what it answered."""
        if delta.shape != h.shape:
            places = h.shape[2] // self.batch
            delta = (delta / places).unsqueeze(2).expand(-1, -1, places, -1).flatten(2)
        if mask is not None:
            delta = self._masked(delta, mask)
        if self.activation == "relu":
            aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)
        else:
            aten.tanh_backward.grad_input(delta, h, grad_input=delta)
        return delta

    def _masked(self, h: Tensor, mask: Tensor) -> Tensor:
        """In place: a channel of an image is left out as a whole."""
        h.unflatten(2, (-1, self.batch)).mul_(mask.unsqueeze(2))
        return h


def floats(network: Architecture, space: WeightSpace, image: InputShape, batch: int) -> int:
    """Numbers that one network of a batch needs beside the others, about."""
    count = 6 * space.size + 2 * batch * prod(image)
    if isinstance(network, Cnn):
        high, wide, c = image[1], image[2], image[0]
        for n in network.channels:
            below = high * wide
            high, wide = (-(-side // network.stride) for side in (high, wide))
            count += batch * (2 * c * below + high * wide * (c * network.kernel**2 + 2 * n))
            c = n
    return count


def _keep(grads: tuple[Tensor, Tensor], delta: Tensor, below: Tensor) -> None:
    """The gradients of the weights and biases of one layer."""
    k = len(delta)
    grads[0][:k].copy_(torch.bmm(delta, below.mT))
    torch.sum(delta, -1, out=grads[1][:k])


def _inside(padded: Tensor, margin: int) -> Tensor:
    return padded[:, :, margin : padded.shape[2] - margin, margin : padded.shape[3] - margin]
