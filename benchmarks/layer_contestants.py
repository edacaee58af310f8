"""Who is compared by layers.py, and on which input networks: ours, the same by the book, others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from dws import DWSNet, Features, Term, WeightSpace, terms

LAYERS, CHANNELS, OUTPUTS, PROJECTED = 5, 32, 10, 8


class Case:
    """One kind of input network."""

    def __init__(self, name: str, module: nn.Module, project: dict[str, int]) -> None:
        self.name, self.space, self.project = name, WeightSpace.from_module(module), project
        self.shapes = [tuple(p.shape) for p in module.parameters()]

    @property
    def inner(self) -> WeightSpace:
        """The space that the layers work on."""
        space = self.space
        for axis, size in self.project.items():
            space = space.resized(axis, size)
        return space

    def parameters(self, theta: Tensor) -> list[Tensor]:
        """Flat weights ``[m, size]`` as the tensors ``[m, *shape]`` of the module."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        cut = zip(theta.split(sizes, 1), self.shapes, strict=True)
        return [part.reshape(-1, *shape) for part, shape in cut]


def mlp(*widths: int) -> nn.Module:
    """A plain MLP."""
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))


def cnn() -> nn.Module:
    """The 4,970 weights of the small CNN zoo of Unterthiner et al. 2020."""
    convolutions = [nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


CASES = {
    "2-32-32-1": lambda: Case("2-32-32-1", mlp(2, 32, 32, 1), {}),
    "784-128-128-10": lambda: Case("784-128-128-10", mlp(784, 128, 128, 10), {"n0": PROJECTED}),
    "cnn": lambda: Case("cnn", cnn(), {}),
}


class OneProductPerTerm(nn.Module):
    """The same maps by the book: a matrix for each (source, target, alpha), one after the other."""

    def __init__(self, space: WeightSpace, c_in: int, c_out: int) -> None:
        super().__init__()
        self.space, self.c_out = space, c_out
        self.matrices = nn.ParameterList(
            torch.randn(
                space.fixed_size(t.source) * c_in, space.fixed_size(t.target) * c_out
            ) / (space.fixed_size(t.source) * c_in * len(space.names)) ** 0.5
            for t in terms(space)
        )  # fmt: skip

    def forward(self, features: Features) -> Features:
        """``[m, *shape, c]`` per tensor -> the same with other channels."""
        space, out = self.space, {}
        for term, matrix in zip(terms(space), self.matrices, strict=True):
            own, theirs = space.axes[term.source], space.axes[term.target]
            kept = [a for a in own if a in term.alpha]
            fixed = space.fixed_axes(term.source)
            x = features[term.source]
            x = x.permute(0, *(1 + own.index(a) for a in (*kept, *fixed)), *self._pooled(term), -1)
            at = 1 + len(kept) + len(fixed)
            x = x.mean(tuple(range(at, x.ndim - 1))) if x.ndim - 1 > at else x
            y = x.flatten(1 + len(kept)) @ matrix
            fixed = space.fixed_axes(term.target)
            y = y.unflatten(-1, (*(space.sizes[a] for a in fixed), self.c_out))
            order = [*kept, *fixed]
            y = y.permute(0, *(1 + order.index(a) for a in theirs if a in order), -1)
            y = y[(slice(None), *(slice(None) if a in order else None for a in theirs))]
            out[term.target] = out[term.target] + y if term.target in out else y
        return {name: out[name].expand(-1, *space.shapes[name], -1) for name in space.names}

    def _pooled(self, term: Term) -> list[int]:
        own, hidden = self.space.axes[term.source], self.space.hidden_axes(term.source)
        return [1 + own.index(a) for a in hidden if a not in term.alpha]


class Naive(nn.Module):
    """A DWSNet of :class:`OneProductPerTerm` layers."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, space = case, case.inner
        # the same projection of long axes and the same head as ours
        self.ours = DWSNet(case.space, 1, CHANNELS, 1, OUTPUTS, project=case.project)
        widths = [1] + [CHANNELS] * LAYERS
        self.stack = nn.ModuleList(OneProductPerTerm(space, a, b) for a, b in pairwise(widths))

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, outputs]``."""
        x = self.case.space.split(theta)
        for projection in self.ours.projections:
            x = projection(x)
        for layer in self.stack:
            x = {name: torch.relu(y) for name, y in layer(x).items()}
        invariant = self.ours.head.invariant(x)
        out: Tensor = self.ours.head.output(torch.relu(invariant))
        return out


def peer_dwsnets(case: Case, **options: object) -> nn.Module | None:
    """AvivNavon/DWSNets on the same input, weights as (in, out); MLPs only."""
    from nn.models import DWSModelForClassification  # type: ignore[import-not-found]

    if case.name == "cnn":
        return None
    weights = tuple((s[1], s[0]) for s in case.shapes[0::2])
    model = DWSModelForClassification(
        weights, tuple(case.shapes[1::2]), 1, CHANNELS, LAYERS - 1, OUTPUTS,
        input_dim_downsample=PROJECTED if case.project else None, **options,
    )  # fmt: skip

    def prepare(theta: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        tensors = case.parameters(theta)
        return (
            tuple(w.transpose(1, 2).unsqueeze(-1) for w in tensors[0::2]),
            tuple(b.unsqueeze(-1) for b in tensors[1::2]),
        )

    return Prepared(model, prepare)


def peer_nfn(case: Case) -> nn.Module | None:
    """AllanYangZhou/nfn with its hidden-neuron layers; it has no projection."""
    from nfn import layers  # type: ignore[import-not-found]
    from nfn.common import (  # type: ignore[import-not-found]
        ArraySpec,
        NetworkSpec,
        WeightSpaceFeatures,
    )

    if case.project:
        return None
    spec = NetworkSpec(
        [ArraySpec(s) for s in case.shapes[0::2]], [ArraySpec(s) for s in case.shapes[1::2]]
    )
    stack: list[nn.Module] = []
    for a, b in zip([1] + [CHANNELS] * (LAYERS - 1), [CHANNELS] * LAYERS, strict=True):
        stack += [layers.HNPLinear(spec, a, b), layers.TupleOp(nn.ReLU())]
    pooled = CHANNELS * layers.HNPPool.get_num_outs(spec)
    head = [layers.HNPPool(spec), nn.Flatten(-2), nn.Linear(pooled, OUTPUTS)]

    def prepare(theta: Tensor) -> object:
        tensors = [p.unsqueeze(1) for p in case.parameters(theta)]
        return WeightSpaceFeatures(tensors[0::2], tensors[1::2])

    return Prepared(nn.Sequential(*stack, *head), prepare)


class Prepared(nn.Module):
    """A peer's model behind the cut into its own tensors."""

    def __init__(self, model: nn.Module, prepare: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.model, self.prepare = model, prepare

    def forward(self, theta: Tensor) -> Tensor:
        """``[m, size]`` -> ``[m, outputs]``."""
        out: Tensor = self.model(self.prepare(theta)).flatten(1)
        return out


def ours(case: Case, **options: object) -> nn.Module:
    """`dws.DWSNet`."""
    return DWSNet(case.space, 1, CHANNELS, LAYERS, OUTPUTS, project=case.project, **options)


def contestants(peers: list[str], device: str) -> dict[str, Callable[[Case], nn.Module | None]]:
    """Name -> what builds the model, or None where it cannot."""
    found: dict[str, Callable[[Case], nn.Module | None]] = {"ours": ours}
    found["ours, recomputing"] = lambda case: ours(case, recompute=32)
    if device != "cpu":
        found["ours, compiled, bf16"] = lambda case: Autocast(torch.compile(ours(case)), device)
    found["one product per term"] = Naive
    for peer in peers:
        sys.path.insert(0, peer)
        if (Path(peer) / "nn" / "models.py").exists():
            found["DWSNets, mean"] = lambda case: peer_dwsnets(
                case, reduction="mean", set_layer="ds"
            )
            found["DWSNets, its defaults"] = lambda case: peer_dwsnets(case, bn=True)
        elif (Path(peer) / "nfn" / "layers").is_dir():
            found["nfn"] = peer_nfn
        else:
            raise SystemExit(f"--peer {peer}: neither nn/models.py nor nfn/layers is there")
    return found


class Autocast(nn.Module):
    """A model whose products run in bfloat16."""

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__()
        self.model, self.device = model, device

    def forward(self, theta: Tensor) -> Tensor:
        """As the model."""
        with torch.autocast(self.device, torch.bfloat16):
            out: Tensor = self.model(theta)
        return out
