"""What classifiers answer, against torch's own layers; what is not an image or a label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import vector_to_parameters

from zoo_gen import Classifier, Cnn, Mlp, ZooError
from zoo_gen.make.classifiers import accuracy, logits

NETWORKS = [Mlp((8, 7), pixels=(-1.0, 1.0)), Cnn((4, 5), pixels=(-1.0, 1.0)), Cnn((3,), 5, 1)]
SHAPE = (2, 7, 6)


def some_theta(network: Mlp | Cnn, m: int) -> torch.Tensor:
    size = Classifier(network, runs=1).space(SHAPE, 4).size
    return torch.randn(m, size, generator=torch.Generator().manual_seed(0)) / 4


def some_images(n: int) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_logits_are_those_of_the_module(network: Mlp | Cnn, activation: str) -> None:
    theta, x = some_theta(network, 3), some_images(5)
    space = Classifier(network, runs=1).space(SHAPE, 4)
    found = logits(network, space, theta, x, activation)
    for row, own in zip(theta, found, strict=True):
        net = network.module(SHAPE, 4, activation)
        vector_to_parameters(row, net.parameters())
        torch.testing.assert_close(own, net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_scores_of_many_images_are_their_means(network: Mlp | Cnn) -> None:
    theta, x = some_theta(network, 3), some_images(600)
    label = torch.arange(600) % 4
    space = Classifier(network, runs=1).space(SHAPE, 4)
    z = logits(network, space, theta, x, "relu")
    found = accuracy(network, space, theta, x, label, "relu")
    losses = [cross_entropy(own, label).item() for own in z]
    np.testing.assert_allclose(found.loss, losses, rtol=1e-5)
    np.testing.assert_allclose(found.accuracy, (z.argmax(2) == label).float().mean(1), rtol=1e-6)


def test_bytes_are_images_in_0_to_1() -> None:
    network, x = NETWORKS[1], torch.arange(84, dtype=torch.uint8).view(1, *SHAPE)
    space = Classifier(network, runs=1).space(SHAPE, 4)
    theta = some_theta(network, 2)
    by_bytes, by_floats = (logits(network, space, theta, i, "relu") for i in (x, x / 255))
    torch.testing.assert_close(by_bytes, by_floats)


def test_logits_have_gradients_in_the_weights() -> None:
    network = NETWORKS[1]
    theta = some_theta(network, 2).double().requires_grad_()
    space = Classifier(network, runs=1).space(SHAPE, 4)
    x = some_images(3).double()
    assert torch.autograd.gradcheck(lambda t: logits(network, space, t, x, "tanh"), (theta,))


@pytest.mark.parametrize(
    ("images", "labels", "activation", "message"),
    [
        (np.zeros((3, 2, 7, 5)), [0, 1, 2], "relu", r"the networks take 84 channels \* height"),
        (np.zeros((3, 84)), [0, 1, 2], "relu", r"expected \[n, channels, height, width\]"),
        (np.zeros((3, *SHAPE)), [0, 1], "relu", "3 images with 2 labels"),
        (np.zeros((0, *SHAPE)), [], "relu", "0 images with 0 labels; expected one each, some"),
        (np.zeros((3, *SHAPE)), [0, 1, 4], "relu", "labels from 0 to 4: the networks know 0 to 3"),
        (np.zeros((3, *SHAPE)), [0, 1, 2], "sine", "activation 'sine': expected relu or tanh"),
    ],
)
def test_what_does_not_fit_is_told(
    images: np.ndarray, labels: list[int], activation: str, message: str
) -> None:
    network = NETWORKS[0]
    space = Classifier(network, runs=1).space(SHAPE, 4)
    with pytest.raises(ZooError, match=message):
        accuracy(network, space, some_theta(network, 2), images, np.array(labels), activation)
