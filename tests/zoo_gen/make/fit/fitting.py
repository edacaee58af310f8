"""The specification of a fit: one nn.Sequential, autograd, torch.optim, as anybody does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from zoo_gen import Fit
from zoo_gen.make.fit import init
from zoo_gen.make.fit.problem import drawn_points

EXECUTIONS = ["eager", "compiled"]


class Sine(nn.Module):
    def __init__(self, w0: float) -> None:
        super().__init__()
        self.w0 = w0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.w0 * x)


def hidden(fit: Fit) -> nn.Module:
    """The activation of a recipe."""
    return {"sine": Sine(fit.w0), "relu": nn.ReLU(), "tanh": nn.Tanh(), "gelu": nn.GELU()}[
        fit.activation
    ]


def plain_loop(fit: Fit, seed: int, coordinates: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """The weights of one network, ``[size]``."""
    layers: list[nn.Module] = []
    for a, b in pairwise(fit.space.widths):
        layers += [nn.Linear(a, b), hidden(fit)]
    net = nn.Sequential(*layers[:-1])
    vector_to_parameters(init(fit, [seed])[0], net.parameters())
    options = {"lr": fit.learning_rate, "weight_decay": fit.weight_decay}
    if fit.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), **options)
    else:
        optimizer = torch.optim.SGD(net.parameters(), momentum=fit.momentum, **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.steps)
    x, y = torch.from_numpy(fit.forward_pass.inputs(coordinates)), torch.from_numpy(target)
    compare = nn.MSELoss() if fit.loss == "mse" else nn.BCEWithLogitsLoss()
    for step in range(fit.steps):
        some = torch.arange(len(x))
        if k := fit.points_per_step:
            who = np.array([seed], np.uint64), np.array([step])
            some = torch.from_numpy(drawn_points(*who, k, len(x))[0])
        loss = compare(net(x[some]) + fit.offset, y[some])
        if loss <= fit.target_loss:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if fit.schedule == "cosine":
            scheduler.step()
    return parameters_to_vector(net.parameters()).detach()
