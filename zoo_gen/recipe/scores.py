"""What classifiers compute: logits of any weights, and their loss and accuracy on any images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy

from dws import WeightSpace, forward
from zoo_gen.errors import ZooError
from zoo_gen.recipe.architectures import ACTIVATIONS, Architecture, Mlp

AT_ONCE = 256  # images: activations of a network stay in the cache
BATCH_FLOATS = 1 << 22  # of the inputs and hidden neurons of MLPs that are evaluated together

Array = npt.NDArray[Any] | Tensor


@dataclass(frozen=True)
class Scores:
    """How well m classifiers do on some images.

    Attributes:
        loss: float32 ``[m]``, mean cross-entropy in nats.
        accuracy: float32 ``[m]``, share of images whose greatest logit is that of their class; NaN
            where the loss is.
    """

    loss: Tensor
    accuracy: Tensor

    @classmethod
    def unknown(cls, m: int) -> Scores:
        """NaN for each of m classifiers."""
        return cls(torch.full((m,), torch.nan), torch.full((m,), torch.nan))


def logits(
    network: Architecture, space: WeightSpace, theta: Tensor, images: Array, activation: str
) -> Tensor:
    """Outputs of m networks for n images, differentiable in the weights and in the images.

    Args:
        network: their architecture.
        space: of their weights.
        theta: ``[m, size]``.
        images: ``[n, channels, height, width]``, uint8 (255 stands for 1.0) or floating point in
            [0, 1].
        activation: relu or tanh.

    Returns:
        ``[m, n, classes]``.

    Raises:
        ZooError: an unknown activation, or images of another size.
    """
    if activation not in ACTIVATIONS:
        raise ZooError(f"activation {activation!r}: expected {' or '.join(ACTIVATIONS)}")
    low, high = network.pixels
    x = low + (high - low) * _scaled(images)
    expected = space.sizes["n0"]
    inputs = x[0].numel() if isinstance(network, Mlp) and len(x) else x.shape[1]
    if inputs != expected:
        what = "channels * height * width" if isinstance(network, Mlp) else "channels"
        raise ZooError(
            f"images {list(x.shape)} (n, channels, height, width): the networks take {expected} "
            f"{what}"
        )
    if isinstance(network, Mlp):
        return forward(space, theta, x.flatten(1).unsqueeze(0), activation)
    return torch.stack([_convolved(network.stride, space, t, x, activation) for t in theta])


def _convolved(
    stride: int, space: WeightSpace, theta: Tensor, x: Tensor, activation: str
) -> Tensor:
    """One CNN; convolutions of one network after another are quicker than grouped ones."""
    tensors = {name: t[0, ..., 0] for name, t in space.split(theta.unsqueeze(0)).items()}
    depth = len(space.hidden)
    f = torch.relu if activation == "relu" else torch.tanh
    for k in range(1, depth + 1):
        weight = tensors[f"W{k}"]
        side = round(weight.shape[2] ** 0.5)
        kernel = weight.unflatten(2, (side, side))
        x = f(conv2d(x, kernel, tensors[f"b{k}"], stride, side // 2))
    last = depth + 1
    return torch.addmm(tensors[f"b{last}"], x.mean((2, 3)), tensors[f"W{last}"].T)


@torch.no_grad()
def accuracy(
    network: Architecture,
    space: WeightSpace,
    theta: Tensor,
    images: Array,
    labels: Array,
    activation: str,
) -> Scores:
    """Loss and accuracy of m networks on n images, few at a time.

    Args:
        labels: int64 ``[n]``, the number of the right output.

    The other arguments, and errors, as in `logits`.
    """
    label = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
    if len(label) != len(images) or not len(label):
        raise ZooError(f"{len(images)} images with {len(label)} labels; expected one each, some")
    outputs = space.shapes[space.names[-1]][0]
    if label.min() < 0 or label.max() >= outputs:
        raise ZooError(
            f"labels from {label.min()} to {label.max()}: the networks know 0 to {outputs - 1}"
        )
    widest = max(space.sizes[axis] for axis in ("n0", *space.hidden))
    networks = max(1, BATCH_FLOATS // (AT_ONCE * widest))
    loss, right = torch.zeros(2, len(theta))
    for start in range(0, len(label), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        x, y = _scaled(images[part]), label[part]
        for first in range(0, len(theta), networks):
            some = slice(first, first + networks)
            z = logits(network, space, theta[some], x, activation)
            each = cross_entropy(z.flatten(0, 1), y.repeat(len(z)), reduction="none")
            loss[some] += each.view(len(z), -1).sum(1)
            right[some] += (z.argmax(2) == y).sum(1)
    loss, share = loss / len(label), right / len(label)
    return Scores(loss, torch.where(loss.isnan(), torch.nan, share))


def accuracy_of_rows(
    network: Architecture,
    space: WeightSpace,
    theta: Tensor,
    columns: dict[str, Any],
    images: Array,
    labels: Array,
) -> Scores:
    """Loss and accuracy of rows of a zoo, each with its own activation and pair of classes.

    Args:
        columns: ``activation``, and ``class_a`` and ``class_b`` where each network has two
            classes: it sees the images of these alone, and its score is NaN without any.
        labels: int64 ``[n]``, classes of the source.

    The other arguments, and errors, as in `logits`.
    """
    label = np.asarray(labels)
    pairs: Sequence[tuple[int, int] | None] = [None] * len(theta)
    if "class_a" in columns:
        sides = (np.asarray(columns[name]).tolist() for name in ("class_a", "class_b"))
        pairs = list(zip(*sides, strict=True))
    kinds = list(zip(np.asarray(columns["activation"]).tolist(), pairs, strict=True))
    out = Scores.unknown(len(theta))
    for kind in dict.fromkeys(kinds):
        rows = torch.tensor([i for i, other in enumerate(kinds) if other == kind])
        activation, pair = kind
        seen, right = images, label
        if pair is not None:
            kept = np.flatnonzero((label == pair[0]) | (label == pair[1]))
            seen, right = images[kept], (label[kept] == pair[1]).astype(np.int64)
        if len(right):
            found = accuracy(network, space, theta[rows], seen, right, activation)
            out.loss[rows], out.accuracy[rows] = found.loss, found.accuracy
    return out


def _scaled(images: Array) -> Tensor:
    """``[n, channels, height, width]`` in floating point."""
    x = torch.as_tensor(images)
    if x.ndim != 4:
        raise ZooError(f"images {list(x.shape)}: expected [n, channels, height, width]")
    if x.dtype == torch.uint8:
        return x.float() / 255
    return x if x.is_floating_point() else x.float()
