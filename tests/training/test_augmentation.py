"""Augmentation: what the settings say, no more, and the same for any number of workers."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from dws import WeightSpace, forward
from training import loop
from training.augmentation import Augmentation, within
from training.models import MlpNetwork
from training.settings import Training
from training.tasks import TaskData
from zoo_gen import ConfigError, ForwardPass

SPACE = WeightSpace.mlp((2, 5, 4, 3))
W0 = 3.0
SINE = ForwardPass("sine", W0)
CLASSES = 4
# every setting switched on alone, and the activation whose functions it keeps, if any
ON = {
    "permutation": (Augmentation(permutation=True), "sine"),
    "sign_flips": (Augmentation(sign_flips=True), "sine"),
    "phase_shifts": (Augmentation(phase_shifts=1), "sine"),
    "w0": (Augmentation(phase_shifts=1, w0=W0), "sine"),
    "rescaling": (Augmentation(rescaling=0.5), "relu"),
    "rotation": (Augmentation(rotation=30.0), None),
    "translation": (Augmentation(translation=0.2), None),
    "zoom": (Augmentation(zoom=0.2), None),
    "weight_dropout": (Augmentation(weight_dropout=0.2), None),
    "quantile_dropout": (Augmentation(quantile_dropout=0.2), None),
    "noise": (Augmentation(noise=0.1), None),
    "mixup": (Augmentation(mixup=0.4), None),
    "align_mixup": (Augmentation(mixup=0.4, align_mixup=True), None),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(m: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    theta = torch.randn(m, SPACE.size, generator=rng(), dtype=torch.float64)
    return theta, torch.arange(m) % CLASSES


def apply(augmentation: Augmentation, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return augmentation.apply(SPACE, *batch(), CLASSES, rng(seed), SINE)


def test_by_default_nothing_is_done() -> None:
    theta, target = batch()
    source = rng()
    got = Augmentation().apply(SPACE, theta, target, CLASSES, source)
    assert got[0] is theta
    assert got[1] is target
    assert torch.equal(source.get_state(), rng().get_state())


def test_every_setting_is_tried_here() -> None:
    assert set(ON) == {f.name for f in fields(Augmentation)}


@pytest.mark.parametrize("name", ON)
def test_a_setting_changes_the_weights_by_its_generator_alone(name: str) -> None:
    augmentation, _ = ON[name]
    theta, _ = batch()
    torch.manual_seed(1)
    first, target = apply(augmentation)
    torch.manual_seed(2)
    again, target_again = apply(augmentation)
    assert not torch.equal(first, theta)
    assert torch.equal(first, again)
    assert torch.equal(target, target_again)
    if name != "quantile_dropout":
        assert not torch.equal(first, apply(augmentation, seed=1)[0])


@pytest.mark.parametrize("name", [name for name, (_, keeps) in ON.items() if keeps])
def test_a_setting_that_keeps_the_function_does(name: str) -> None:
    augmentation, activation = ON[name]
    theta, target = batch()
    other, same = apply(augmentation)
    x = torch.randn(1, 7, 2, generator=rng(), dtype=torch.float64)
    a, b = (forward(SPACE, t, x, activation, W0) for t in (theta, other))
    torch.testing.assert_close(b, a, rtol=0, atol=1e-10)
    assert torch.equal(same, target)


@pytest.mark.parametrize("name", ["rotation", "translation", "zoom"])
def test_inputs_move_within_the_bounds(name: str) -> None:
    """A network that draws its own input tells how it was moved."""
    space = WeightSpace.mlp((2, 2))
    identity = torch.tensor([1.0, 0, 0, 1, 0, 0], dtype=torch.float64).expand(500, -1)
    augmentation = ON[name][0]
    theta, _ = augmentation.apply(space, identity, torch.zeros(500).long(), 1, rng())
    x = space.split(theta)
    weight, bias = x["W1"][..., 0], x["b1"][..., 0]
    found = {
        "rotation": torch.rad2deg(torch.atan2(weight[:, 1, 0], weight[:, 0, 0])),
        "translation": bias.flatten(),
        "zoom": weight[:, 0, 0].log(),
    }[name]
    bound = getattr(augmentation, name)
    assert found.abs().max() <= bound * (1 + 1e-9)
    assert found.min() < -0.9 * bound
    assert found.max() > 0.9 * bound


def test_mixed_targets_have_the_shares_of_the_mixed_weights() -> None:
    theta, target = batch()
    other, mixed = apply(Augmentation(mixup=0.4))
    assert mixed.shape == (6, CLASSES)
    torch.testing.assert_close(mixed.sum(1), torch.ones(6, dtype=torch.float64))
    one_hot = torch.nn.functional.one_hot(target, CLASSES).double()
    # weights are independent, so the coefficients of a mixture can be read off it
    shares = torch.linalg.lstsq(theta.T, other.T).solution.T
    torch.testing.assert_close(shares @ one_hot, mixed)
    assert (shares.diagonal() < 0.99).any()


def test_shares_follow_beta() -> None:
    theta = torch.zeros(4000, SPACE.size, dtype=torch.float64)
    target = torch.arange(4000)
    _, mixed = Augmentation(mixup=0.5).apply(SPACE, theta, target, 4000, rng())
    share = mixed.diagonal()
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)); one network meets itself now and then
    assert abs(share.mean() - 0.5) < 0.03
    assert abs(share.var() - 1 / 8) < 0.01


def test_aligned_mixtures_of_one_function_are_that_function() -> None:
    theta, target = batch()
    one = theta[:1].expand(6, -1)
    settings = Augmentation(permutation=True, mixup=1.0, align_mixup=True)
    mixed, _ = settings.apply(SPACE, one, target, CLASSES, rng())
    x = torch.randn(1, 7, 2, generator=rng(), dtype=torch.float64)
    a, b = (forward(SPACE, t, x, "sine", W0) for t in (one, mixed))
    torch.testing.assert_close(b, a, rtol=0, atol=1e-10)


def test_uniform_numbers_fill_their_bounds() -> None:
    x = within(0.3, rng(), 100, 10)
    assert x.shape == (100, 10)
    assert -0.3 <= x.min() < -0.29
    assert 0.29 < x.max() <= 0.3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": -0.1}, r"^noise: got -0.1, expected 0 or more"),
        ({"zoom": float("inf")}, r"^zoom: got inf, expected 0 or more"),
        ({"phase_shifts": -1}, r"^phase_shifts: got -1, expected 0 or more"),
        ({"weight_dropout": 1.0}, r"^weight_dropout: got 1.0, expected at least 0 and less than 1"),
        ({"quantile_dropout": -0.5}, r"^quantile_dropout: got -0.5, expected at least 0"),
        ({"w0": 0.0}, r"^w0: got 0.0, expected more than 0"),
        ({"align_mixup": True}, r"^align_mixup: got true without mixup, expected mixup above 0"),
    ],
)
def test_a_value_out_of_range_is_told_by_its_key(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation(**values)


@pytest.mark.parametrize(
    ("settings", "space", "message"),
    [
        (Augmentation(rotation=9.0), WeightSpace.mlp((3, 4, 1)), r"^augment: .* need 2 inputs"),
        (Augmentation(phase_shifts=1), SPACE, r"^augment.w0: got none, expected the frequency"),
        (
            Augmentation(translation=1.0),
            WeightSpace.mlp((2, 4, 1), bias=False),
            r"^augment: .* without biases has no bias b1",
        ),
    ],
)
def test_what_these_networks_do_not_admit_is_told_before_training(
    settings: Augmentation, space: WeightSpace, message: str
) -> None:
    settings.check(SPACE, SINE)
    with pytest.raises(ConfigError, match=message):
        settings.check(space)


@pytest.mark.parametrize("key", ["sign_flips", "rescaling"])
@pytest.mark.parametrize("activation", ["sine", "tanh", "relu", "gelu", None])
def test_what_keeps_functions_is_refused_for_units_whose_functions_it_changes(
    key: str, activation: str | None
) -> None:
    settings = Augmentation(**{key: True if key == "sign_flips" else 0.5})
    keeps = {"sign_flips": ("sine", "tanh"), "rescaling": ("relu",)}[key]
    units = ForwardPass(activation, W0)
    if activation in keeps:
        settings.check(SPACE, units)
        return
    with pytest.raises(ConfigError, match=rf"^augment.{key}: got .* {activation or 'not known'}"):
        settings.check(SPACE, units)


@pytest.mark.parametrize("name", ["permutation", "phase_shifts", "noise", "mixup", "align_mixup"])
def test_training_sees_augmented_networks_and_evaluation_never(
    data: TaskData, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    network = MlpNetwork(hidden=(4,))
    build = MlpNetwork.build

    def watched(
        self: MlpNetwork, space: WeightSpace, classes: int, forward_pass: ForwardPass
    ) -> torch.nn.Module:
        model = build(self, space, classes, forward_pass)
        model.register_forward_pre_hook(lambda m, args: seen[m.training].append(args[0]))
        return model

    monkeypatch.setattr(MlpNetwork, "build", watched)
    loop.train(network, data, Training(epochs=1, augment=ON[name][0]), 0)
    known = {tuple(row) for row in data.theta.tolist()}
    assert all(tuple(row) in known for rows in seen[False] for row in rows.tolist())
    new = [tuple(row) not in known for rows in seen[True] for row in rows.tolist()]
    assert sum(new) > 0.9 * len(new)


def test_the_zoos_own_frequency_is_used(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(
        "training.augmentation.shift_phases",
        lambda space, theta, w0, source, bound: told.append(w0) or theta,
    )
    settings = Training(epochs=1, augment=Augmentation(phase_shifts=1))
    loop.train(MlpNetwork(hidden=(4,)), data, settings, 0)
    assert set(told) == {3.0}
    told.clear()
    own = replace(settings, augment=Augmentation(phase_shifts=1, w0=5.0))
    loop.train(MlpNetwork(hidden=(4,)), data, own, 0)
    assert set(told) == {5.0}
