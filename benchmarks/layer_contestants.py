"""Who is compared by layers.py, and on which input networks: ours, the same by the book, others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from dws import DWSNet, Features, WeightSpace, terms
from dws.pooling import Packed, diagonal, on_diagonal

LAYERS, CHANNELS, OUTPUTS, PROJECTED = 5, 32, 10, 8


class Case:
    """One kind of input network."""

    def __init__(
        self,
        name: str,
        network: nn.Module | WeightSpace,
        project: dict[str, int] | None = None,
    ) -> None:
        self.name, self.project = name, project or {}
        if isinstance(network, WeightSpace):
            self.space, self.shapes = network, list(network.shapes.values())
        else:
            self.space = WeightSpace.from_module(network)
            self.shapes = [tuple(p.shape) for p in network.parameters()]

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


def rnn(inputs: int, h: int, outputs: int) -> WeightSpace:
    """An Elman RNN and a linear layer: its recurrent matrix has the axis h twice."""
    axes = {"Wx": ("h", "in"), "Wh": ("h", "h"), "b": ("h",), "Wy": ("out", "h"), "by": ("out",)}
    return WeightSpace(axes, {"in": inputs, "h": h, "out": outputs}, ("h",))


def attention(heads: int, d: int, e: int) -> WeightSpace:
    """Multi-head attention on permutable features: the entries of a head are nested in it."""
    axes = {
        "Q": ("head", "d", "e"), "q": ("head", "d"), "K": ("head", "d", "e"), "k": ("head", "d"),
        "V": ("head", "v", "e"), "v": ("head", "v"), "O": ("e", "head", "v"), "o": ("e",),
    }  # fmt: skip
    sizes = {"head": heads, "d": d, "v": d, "e": e}
    return WeightSpace(axes, sizes, ("head", "d", "v", "e"), {"d": "head", "v": "head"})


CASES = {
    "2-32-32-1": lambda: Case("2-32-32-1", mlp(2, 32, 32, 1)),
    "784-128-128-10": lambda: Case("784-128-128-10", mlp(784, 128, 128, 10), {"n0": PROJECTED}),
    "cnn": lambda: Case("cnn", cnn()),
    "rnn": lambda: Case("rnn", rnn(2, 32, 1)),
    "attention": lambda: Case("attention", attention(4, 8, 16)),
}
NOT_OFFERED = ("cnn", "rnn", "attention")
"""Cases that a peer for MLPs does not take."""


class OneProductPerTerm(nn.Module):
    """The same maps by the book: a matrix for each term of the basis, one after the other."""

    def __init__(self, space: WeightSpace, c_in: int, c_out: int) -> None:
        super().__init__()
        self.space, self.c_out, self.terms = space, c_out, terms(space)
        self.matrices = nn.ParameterList(
            torch.randn(
                space.fixed_size(t.source) * c_in, space.fixed_size(t.target) * c_out
            ) / (space.fixed_size(t.source) * c_in * len(space.names)) ** 0.5
            for t in self.terms
        )  # fmt: skip

    def forward(self, features: Features) -> Features:
        """``[m, *shape, c]`` per tensor -> the same with other channels."""
        space, out = self.space, {}
        packed = Packed.of(space, features)
        for term, matrix in zip(self.terms, self.matrices, strict=True):
            kept, spread = term.gather.kept, term.spread
            x = diagonal(packed.tensors[term.source], kept + term.gather.rest)
            if term.gather.rest:
                x = x.mean(tuple(range(1 + len(kept), x.ndim - 1)))
            y = x @ matrix
            order = sorted(range(len(kept)), key=lambda k: spread.kept[k])
            y = y.permute(0, *(1 + k for k in order), -1)
            y = y[(slice(None), *(slice(None) if t in spread.kept else None for t in spread.ties))]
            if any(len(tie) > 1 for tie in spread.ties):
                axes = space.hidden_axes(term.target)
                y = y.expand(-1, *(space.sizes[axes[tie[0]]] for tie in spread.ties), -1)
                y = on_diagonal(y, spread.ties)
            out[term.target] = out[term.target] + y if term.target in out else y
        sizes = {n: [space.sizes[a] for a in space.hidden_axes(n)] for n in space.names}
        whole = {n: out[n].expand(-1, *sizes[n], -1) for n in space.names}
        return Packed(space, whole).features(self.c_out)


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

    if case.name in NOT_OFFERED:
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

    if case.project or case.name in ("rnn", "attention"):
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


def earlier_dws(checkout: str) -> ModuleType:
    """The package `dws` of another checkout, beside the one that is imported already."""
    ours = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "dws"
    }
    sys.path.insert(0, checkout)
    theirs = import_module("dws")
    for name in [name for name in sys.modules if name.split(".")[0] == "dws"]:
        del sys.modules[name]
    sys.modules.update(ours)
    sys.path.remove(checkout)
    return theirs


def earlier(package: ModuleType, case: Case) -> nn.Module | None:
    """The same model by another version of `dws`, where it knows the space."""
    space = case.space
    if any(len(set(axes)) < len(axes) for axes in space.axes.values()) or space.parents:
        return None
    space = package.WeightSpace(space.axes, space.sizes, space.hidden)
    model: nn.Module = package.DWSNet(space, 1, CHANNELS, LAYERS, OUTPUTS, project=case.project)
    return model


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
        sys.path.insert(0, peer)  # the last one given is searched first
        if (Path(peer) / "dws" / "model.py").exists():
            found[f"dws in {Path(peer).name}"] = partial(earlier, earlier_dws(peer))
        elif (Path(peer) / "nn" / "models.py").exists():
            found["DWSNets, mean"] = lambda case: peer_dwsnets(
                case, reduction="mean", set_layer="ds"
            )
            found["DWSNets, its defaults"] = lambda case: peer_dwsnets(case, bn=True)
        elif (Path(peer) / "nfn" / "layers").is_dir():
            found["nfn"] = peer_nfn
        else:
            raise SystemExit(
                f"--peer {peer}: neither dws/model.py, nn/models.py nor nfn/layers is there"
            )
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
