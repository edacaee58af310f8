"""Contrastive tasks: losses as they are defined, labels unseen, neighbours that are the nearest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from training import loop
from training.augmentation import Augmentation
from training.models import DwsNetwork, MlpNetwork, UnchangedNetwork
from training.settings import Training
from training.tasks import Contrast, Retrieve, Task, TaskData, load
from training.tasks.contrast import pair_loss, probe
from training.tasks.retrieve import class_loss, neighbours
from zoo_gen import ConfigError, Store, ZooReader

CONTRAST = Contrast(columns=("label",), embedding=8, views=Augmentation(noise=0.3, sign_flips=True))
RETRIEVE = Retrieve(embedding=8)


@pytest.fixture(scope="module")
def zoo(root: Store) -> ZooReader:
    return ZooReader(root, f"zoos/{root.names('zoos')[0]}")


@pytest.fixture(scope="module")
def contrasted(zoo: ZooReader) -> TaskData:
    return load(zoo, CONTRAST)


@pytest.fixture(scope="module")
def searched(zoo: ZooReader) -> TaskData:
    return load(zoo, RETRIEVE)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_each_view_finds_its_partner_among_all_others() -> None:
    z, m, total = unit(10, 4), 5, 0.0
    for i in range(2 * m):
        others = torch.stack([torch.exp(z[i] @ z[j] / 0.1) for j in range(2 * m) if j != i])
        total += -torch.log(torch.exp(z[i] @ z[(i + m) % (2 * m)] / 0.1) / others.sum()).item()
    assert pair_loss(z, 0.1).item() == pytest.approx(total / 2, rel=1e-4)


def test_each_network_finds_those_of_its_class_among_all_others() -> None:
    z, label, parts = unit(6, 4), torch.tensor([0, 0, 1, 1, 1, 2]), []
    for i in range(5):  # the last one is alone
        others = torch.stack([torch.exp(z[i] @ z[j] / 0.5) for j in range(6) if j != i]).sum()
        same = [j for j in range(6) if j != i and label[j] == label[i]]
        shares = [torch.log(torch.exp(z[i] @ z[j] / 0.5) / others).item() for j in same]
        parts.append(-sum(shares) / len(shares))
    assert class_loss(z, label, 0.5).item() == pytest.approx(sum(parts) / 5, rel=1e-4)


def test_two_views_of_a_network_differ_and_follow_from_the_source(contrasted: TaskData) -> None:
    rows = contrasted.rows["train"][:6]

    def views() -> tuple[torch.Tensor, ...]:
        source = torch.Generator().manual_seed(3)
        return CONTRAST.batch(contrasted, rows, Augmentation(), source)

    one, two = views()
    assert (one != two).any(1).all()
    assert all(torch.equal(a, b) for a, b in zip((one, two), views(), strict=True))


def test_a_models_own_augmentation_is_in_both_views(zoo: ZooReader) -> None:
    data = load(zoo, replace(CONTRAST, views=Augmentation()))
    rows, source = data.rows["train"][:6], torch.Generator().manual_seed(3)
    one, two = data.task.batch(data, rows, Augmentation(permutation=True), source)
    for view in (one, two):
        assert (view != data.theta[rows]).any(1).all()
        torch.testing.assert_close(view.sort(1).values, data.theta[rows].sort(1).values)


def test_the_columns_have_no_part_in_learning(contrasted: TaskData) -> None:
    other = replace(contrasted, target=contrasted.target.flip(0))
    settings = Training(epochs=1, batch_size=40)
    a, b = (loop.train(MlpNetwork(hidden=(8,)), d, settings, 0) for d in (contrasted, other))
    assert all(
        torch.equal(x, y)
        for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )


def test_the_probe_is_fitted_to_training_networks_and_finds_what_is_linear() -> None:
    train, test = unit(50, 5), unit(20, 5, seed=1)
    weights = unit(5, 2, seed=2).double()
    said = probe({"train": train, "test": test}, train.double() @ weights + 3, "test", ridge=0)
    torch.testing.assert_close(said, test.double() @ weights + 3)


def test_collapsed_embeddings_give_the_mean() -> None:
    target = torch.arange(10.0, dtype=torch.float64).unsqueeze(1)
    answers = {"train": torch.ones(10, 4), "test": torch.ones(3, 4)}
    torch.testing.assert_close(
        probe(answers, target, "test", ridge=0), torch.full((3, 1), 4.5, dtype=torch.float64)
    )


def test_a_direction_of_rounding_alone_is_not_extrapolated() -> None:
    train, test = unit(200, 3), unit(20, 3, seed=1)
    target = train.double().sum(1, keepdim=True) + 0.1 * torch.sin(97 * train[:, :1].double())
    # a fourth entry that the others give up to rounding, for all but the first test network
    train, test = (torch.cat([z, (z[:, :1] - z[:, 1:2]) / 3], 1) for z in (train, test))
    test[0, 3] += 0.1
    said = probe({"train": train, "test": test}, target, "test", Contrast().probe_ridge)
    assert said.abs().max() < 3


def test_the_probe_minimises_the_penalised_error() -> None:
    train, target = unit(40, 5).double(), unit(40, 2, seed=1).double()
    standard = (train - train.mean(0)) / train.std(0)
    weights = torch.linalg.solve(
        standard.T @ standard + 40 * 0.3 * torch.eye(5, dtype=torch.float64),
        standard.T @ (target - target.mean(0)),
    )
    said = probe({"train": train}, target, "train", ridge=0.3)
    torch.testing.assert_close(said, standard @ weights + target.mean(0))


def test_neighbours_are_the_training_networks_of_the_greatest_cosine() -> None:
    train, test = unit(30, 4) * torch.linspace(1, 5, 30).unsqueeze(1), unit(5, 4, seed=1)
    found = neighbours({"train": train, "test": test}, "test")
    for i in range(5):
        cosines = [torch.cosine_similarity(test[i], t, dim=0).item() for t in train]
        expected = sorted(range(30), key=lambda j: -cosines[j])[:10]
        assert found[i].tolist() == expected


def test_an_embedding_of_the_class_finds_the_class(searched: TaskData) -> None:
    classes = torch.eye(10)
    answers = {name: classes[searched.target[rows]] for name, rows in searched.rows.items()}
    assert RETRIEVE.scores(searched, answers, "test")["top1"] == 1
    members = RETRIEVE.predictions(searched, answers, "test")
    train = set(searched.member[searched.rows["train"]].tolist())
    assert set(members.flatten().tolist()) <= train


@pytest.mark.parametrize("name", ["contrasted", "searched"])
def test_embeddings_are_learned(name: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(name)
    settings = Training(epochs=25, batch_size=48, learning_rate=0.01)
    network = DwsNetwork(hidden_channels=8, layers=2, probes=8)
    outcome = loop.train(network, data, settings, 0)
    assert outcome.history[-1]["train_loss"] < 0.9 * outcome.history[0]["train_loss"]
    assert outcome.model(data.theta[:3]).shape == (3, 8)


@pytest.mark.parametrize("task", [CONTRAST, RETRIEVE], ids=["contrast", "retrieve"])
def test_views_that_networks_do_not_admit_are_told(task: Task, contrasted: TaskData) -> None:
    task = replace(task, views=Augmentation(rescaling=0.5))
    with pytest.raises(ConfigError, match=r"task.views: augment.rescaling: got 0.5, but the netw"):
        task.build(MlpNetwork(hidden=(8,)), replace(contrasted, task=task))


def test_a_mixture_is_no_view() -> None:
    for kind in (Contrast, Retrieve):
        with pytest.raises(ConfigError, match=r"views.mixup: a mixture is no view"):
            kind(views=Augmentation(mixup=1.0))
    with pytest.raises(ConfigError, match=r"augment.mixup: got 1.0, but it changes"):
        RETRIEVE.check_augmentation(Augmentation(mixup=1.0))


def test_what_gives_weights_gives_no_vector(contrasted: TaskData) -> None:
    with pytest.raises(ConfigError, match="got unchanged, which gives weights back"):
        CONTRAST.build(UnchangedNetwork(), contrasted)
