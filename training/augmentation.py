"""Augmentation of training networks: which of `dws.symmetries` and `dws.augment`, and how strongly.

Validation and test networks are never augmented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dws import WeightSpace
from dws.align import align
from dws.augment import add_noise, drop_quantile, drop_weights, mixup, rotate, translate, zoom
from dws.symmetries import flip_signs, permute, rescale, shift_phases
from training.checks import check_share
from zoo_gen import ConfigError, ForwardPass
from zoo_gen.recipe.forward_pass import UNKNOWN

KEPT = {
    "sign_flips": ("sine", "tanh"),
    "phase_shifts": ("sine",),
    "rescaling": ("relu",),
}
"""What keeps the function only of networks with these units."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to each training network, afresh in each step, in this order. Default: nothing.

    It acts on the weights as they were prepared (`training.data.prepare`). Most of it leads out of
    a canonical form, which is then taken again (so that what the form chooses among, such as
    ``sign_flips`` of ``"canonical-sine"``, has no effect), or out of an alignment, which is not.

    Attributes:
        permutation: hidden neurons in a random order; keeps the function.
        sign_flips: half of the hidden neurons negated; keeps the function of sine and tanh units.
        phase_shifts: up to this many half periods added to or taken off the phase of each sine
            unit; keeps the function.
        w0: frequency of the sine units; None for the zoo's own.
        rescaling: hidden neurons scaled by factors whose logarithm has this standard deviation;
            keeps the function of ReLU units, and of no other.
        rotation: inputs of 2 coordinates turned, uniform within +- this many degrees.
        translation: inputs shifted, uniform within +- this much in each coordinate.
        zoom: inputs scaled by a factor whose logarithm is uniform within +- this.
        weight_dropout: each weight zero with this probability.
        quantile_dropout: this share of each tensor zero, the smallest weights.
        noise: Gaussian, with this standard deviation relative to that of each tensor.
        mixup: networks and targets mixed in pairs, with shares from Beta(mixup, mixup).
        align_mixup: the second network of each pair is first permuted to be close to the first.
            It solves an assignment problem per network and step: slow.

    Raises:
        ConfigError: a value out of range.
    """

    permutation: bool = False
    sign_flips: bool = False
    phase_shifts: int = 0
    w0: float | None = None
    rescaling: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    zoom: float = 0.0
    weight_dropout: float = 0.0
    quantile_dropout: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0
    align_mixup: bool = False

    def __post_init__(self) -> None:
        for key in (
            "phase_shifts",
            "rescaling",
            "rotation",
            "translation",
            "zoom",
            "noise",
            "mixup",
        ):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(f"{key}: got {getattr(self, key)}, expected 0 or more")
        check_share("weight_dropout", self.weight_dropout)
        check_share("quantile_dropout", self.quantile_dropout)
        if self.w0 is not None and not 0 < self.w0 < math.inf:
            raise ConfigError(f"w0: got {self.w0}, expected more than 0")
        if self.align_mixup and not self.mixup:
            raise ConfigError("align_mixup: got true without mixup, expected mixup above 0")

    def check(self, space: WeightSpace, forward_pass: ForwardPass = UNKNOWN) -> None:
        """Try it on two networks of zeros, so that an impossible one fails before training.

        Args:
            space: of the networks.
            forward_pass: what they compute.

        Raises:
            ConfigError: these networks cannot be augmented so.
        """
        own = forward_pass.activation
        if self.phase_shifts and self.w0 is None and forward_pass.sine_w0 is None:
            raise ConfigError("augment.w0: got none, expected the frequency of the sine units")
        # a frequency given here means that the units are sines
        known = "sine" if self.w0 and own is None else own
        for key, kept in KEPT.items():
            if (value := getattr(self, key)) and known not in kept:
                raise ConfigError(
                    f"augment.{key}: got {str(value).lower()}, but {describe_units(known)}; it "
                    f"keeps the functions of {' and '.join(kept)} networks alone"
                )
        theta, target = torch.zeros(2, space.size), torch.zeros(2, dtype=torch.int64)
        try:
            self.apply(space, theta, target, 1, torch.Generator(), forward_pass)
        except ValueError as error:
            raise ConfigError(f"augment: {error}") from error

    def apply(
        self,
        space: WeightSpace,
        theta: Tensor,
        target: Tensor,
        classes: int,
        source: torch.Generator,
        forward_pass: ForwardPass = UNKNOWN,
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            space: of the networks.
            theta: ``[m, size]``.
            target: int64 ``[m]``, classes, or float ``[m, k]``, numbers.
            classes: number of classes, where there are any.
            source: of all randomness.
            forward_pass: what the networks compute.

        Returns:
            New weights ``[m, size]``, and targets: as they were, or mixed as the weights are, of
            classes the probabilities ``[m, classes]``; ``torch.nn.functional.cross_entropy`` takes
            both.
        """
        theta = self._same_functions(space, theta, source, forward_pass)
        theta = self._other_inputs(space, theta, source)
        if self.weight_dropout:
            theta = drop_weights(space, theta, self.weight_dropout, source)
        if self.quantile_dropout:
            theta = drop_quantile(space, theta, self.quantile_dropout)
        if self.noise:
            theta = add_noise(space, theta, self.noise, source)
        if self.mixup:
            if not target.is_floating_point():
                target = one_hot(target, classes).to(theta.dtype)
            return self._mixed(space, theta, target, source)
        return theta, target

    def _same_functions(
        self,
        space: WeightSpace,
        theta: Tensor,
        source: torch.Generator,
        forward_pass: ForwardPass,
    ) -> Tensor:
        if self.permutation:
            theta = permute(space, theta, source)
        if self.sign_flips:
            theta = flip_signs(space, theta, source)
        if self.phase_shifts:
            frequency = self.w0 or forward_pass.bias_w0
            assert frequency is not None  # as `check` makes sure
            theta = shift_phases(space, theta, frequency, source, self.phase_shifts)
        if self.rescaling:
            theta = rescale(space, theta, source, self.rescaling)
        return theta

    def _other_inputs(self, space: WeightSpace, theta: Tensor, source: torch.Generator) -> Tensor:
        m = len(theta)
        if self.rotation:
            theta = rotate(space, theta, within(math.radians(self.rotation), source, m))
        if self.translation:
            shift = within(self.translation, source, m, space.widths[0])
            theta = translate(space, theta, shift)
        if self.zoom:
            theta = zoom(space, theta, within(self.zoom, source, m).exp())
        return theta

    def _mixed(
        self, space: WeightSpace, theta: Tensor, target: Tensor, source: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Each network with another one of the batch; the target with its target."""
        partner = torch.randperm(len(theta), generator=source)
        # numpy's, because torch's Beta takes no generator
        seed = int(torch.randint(2**63 - 1, (), generator=source))
        draws = np.random.default_rng(seed).beta(self.mixup, self.mixup, len(theta))
        share = torch.from_numpy(draws).to(theta)
        other = theta[partner]
        if self.align_mixup:
            other = align(space, other, reference=theta)
        return mixup(theta, other, share), mixup(target, target[partner], share)


def within(bound: float, source: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers within +- a bound, in double precision."""
    return bound * (2 * torch.rand(*shape, generator=source, dtype=torch.float64) - 1)


def describe_units(activation: str | None) -> str:
    """For messages: which units networks have, and what to do where that is not known."""
    if activation is None:
        return (
            "the activation of the networks is not known; import them again with --activation "
            "(and --w0 for sine)"
        )
    return f"the networks have {activation} units"
