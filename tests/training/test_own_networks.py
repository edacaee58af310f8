"""A person's own network in a file: read where it is weights, refused where it is code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace
from training.own_networks import read_network
from zoo_gen import SourceError
from zoo_gen.exchange.imports import Reading


class Own(nn.Module):
    """A module of somebody's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 1)


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 1))


def written(net: nn.Sequential, kind: str, folder: Path) -> Path:
    """The network in a file of some kind."""
    file = folder / ("net.safetensors" if kind == "safetensors" else "net.pth")
    if kind == "safetensors":
        save_file(net.state_dict(), file)
    else:
        content = {
            "state dict": net.state_dict(),
            "checkpoint": {"epoch": 3, "state_dict": net.state_dict()},
            "double": net.double().state_dict(),
            "module": net,
        }[kind]
        torch.save(content, file)
    return file


@pytest.mark.parametrize("kind", ["state dict", "checkpoint", "double", "module", "safetensors"])
def test_weights_come_in_the_order_of_torch(net, kind: str, tmp_path: Path) -> None:
    expected = parameters_to_vector(net.parameters()).detach()[None]
    space, theta = read_network(written(net, kind, tmp_path))
    assert space == WeightSpace.mlp([2, 8, 12, 1])
    assert theta.dtype == torch.float32
    assert torch.equal(theta, expected)


def test_code_of_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    file = tmp_path / "net.pth"
    torch.save({"0.weight": Hostile()}, file)
    with pytest.raises(SourceError, match=r"net\.pth: it holds more than tensors .*is refused"):
        read_network(file)
    assert not (tmp_path / "run").exists()


def test_a_module_whose_class_is_gone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, theirs = Own(), ModuleType("theirs")
    theirs.Own = Own  # type: ignore[attr-defined]
    monkeypatch.setattr(Own, "__module__", "theirs")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "theirs", theirs)
        torch.save(own, tmp_path / "own.pth")
    _, theta = read_network(tmp_path / "own.pth")
    assert torch.equal(theta[0], parameters_to_vector(own.parameters()).detach())


@pytest.mark.parametrize("name", ["log_std", "1.running_mean", "0.weight_g"])
def test_what_import_refuses_is_refused_here_too(net: nn.Sequential, name: str, tmp_path) -> None:
    torch.save({**net.state_dict(), name: torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(SourceError, match=rf"the tensor {name}, which is no weight or bias"):
        read_network(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", b"not a file of torch"])
def test_a_file_that_is_none_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.pth: it cannot be read"):
        read_network(tmp_path / "x.pth")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.pth: there is no such file"):
        read_network(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("part", "widths"), [("critic", [4, 8, 1]), ("target.critic", [4, 6, 1]), ("actor", [4, 8, 4])]
)
def test_a_part_of_names_is_the_network_of_exactly_that_place(
    part: str, widths: list[int], tmp_path: Path
) -> None:
    file = actor_and_critics(tmp_path)
    assert list(read_network(file, Reading(part))[0].widths) == widths


def test_a_part_that_is_in_several_places_is_refused(tmp_path: Path) -> None:
    """Layers 0 and 2 of the actor and of a critic would chain."""
    with pytest.raises(SourceError, match=r"'0' in several places: actor\.0, critic\.0, target"):
        read_network(actor_and_critics(tmp_path), Reading("0"))


def actor_and_critics(folder: Path) -> Path:
    """An actor, a critic and its target in one state dict."""
    nets = nn.ModuleDict(
        {
            "actor": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)),
            "critic": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)),
            "target": nn.ModuleDict(
                {"critic": nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))}
            ),
        }
    )
    torch.save(nets.state_dict(), folder / "nets.pth")
    return folder / "nets.pth"
