"""Corruptions: deterministic, in [0, 1], worse at every severity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from zoo_gen import Idx, ZooError
from zoo_gen.make.classifiers import CORRUPTIONS, corrupt


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Thirty random images of 32x32 pixels with the spectrum of photographs."""
    rng = np.random.default_rng(0)
    waves = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) + 1 / 32
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((30, 1, 32, 32))) / waves).real
    return np.rint(255 * np.clip(0.5 + field / 4 / field.std(), 0, 1)).astype(np.uint8)


each_name = pytest.mark.parametrize("name", CORRUPTIONS)


@each_name
def test_every_severity_is_worse_than_the_one_before(name: str, images: np.ndarray) -> None:
    clean = images / np.float32(255)
    harm = [np.abs(corrupt(images, name, s) - clean).mean() for s in range(1, 6)]
    assert harm[0] > 0
    assert all(a < b for a, b in pairwise(harm)), harm


@each_name
def test_an_image_is_spoiled_the_same_whatever_others_are(name: str, images: np.ndarray) -> None:
    whole = corrupt(images, name, 3, seed=5)
    assert whole.dtype == np.float32
    assert whole.shape == images.shape
    assert 0 <= whole.min() <= whole.max() <= 1
    np.testing.assert_array_equal(corrupt(images[:7], name, 3, seed=5), whole[:7])


@pytest.mark.parametrize("name", ["gaussian-noise", "fog", "rotation", "motion-blur"])
def test_the_seed_draws_anew(name: str, images: np.ndarray) -> None:
    assert (corrupt(images, name, 3, seed=1) != corrupt(images, name, 3, seed=2)).any()


def test_a_gray_image_has_no_noise_of_its_own_in_blur_contrast_and_pixels() -> None:
    flat = np.full((2, 3, 9, 12), 0.5, np.float32)
    for name in ("gaussian-blur", "motion-blur", "contrast", "pixelate", "rotation", "translation"):
        np.testing.assert_allclose(corrupt(flat, name, 5), flat, atol=1e-5)


def spread(image: np.ndarray) -> np.ndarray:
    """Standard deviations of where an image's light lies, along its axes, in pixels."""
    places = np.stack(np.nonzero(image > 0)).astype(float)
    return np.sqrt(np.linalg.eigvalsh(np.cov(places, aweights=image[image > 0])))


@pytest.mark.parametrize("name", ["rotation", "translation"])
def test_a_wide_image_is_moved_as_it_is(name: str) -> None:
    wide = np.zeros((1, 1, 40, 100), np.float32)
    wide[0, 0, 18:22, 35:65] = 1  # a bar of 4 by 30 in the middle
    moved = corrupt(wide, name, 3)
    assert (moved != wide).any()
    np.testing.assert_allclose(spread(moved[0, 0]), spread(wide[0, 0]), rtol=0.1)


def test_noise_has_the_strength_of_the_table(images: np.ndarray) -> None:
    gray = np.full((20, 1, 30, 30), 0.5, np.float32)
    for s in range(1, 4):
        told = CORRUPTIONS["gaussian-noise"][s - 1]
        assert corrupt(gray, "gaussian-noise", s).std() == pytest.approx(told, rel=0.03)
        share = CORRUPTIONS["impulse-noise"][s - 1]
        hit = (corrupt(gray, "impulse-noise", s) != 0.5).mean()
        assert hit == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        ("jpeg", 1, "corruption 'jpeg': expected one of gaussian-noise, shot-noise"),
        ("fog", 0, "severity 0 of fog: expected 1, 2, 3, 4 or 5"),
        ("fog", 2.5, "severity 2.5 of fog"),
    ],
)
def test_another_name_or_severity_is_told(
    name: str, severity: int, message: str, images: np.ndarray
) -> None:
    with pytest.raises(ZooError, match=message):
        corrupt(images, name, severity)


def test_images_without_channels_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ZooError, match=r"images \[30, 32, 32\]: expected \[n, channels"):
        corrupt(images[:, 0], "fog", 1)


def test_real_images_of_28_pixels_are_spoiled_too(mnist) -> None:
    digits = Idx(path=str(mnist)).load().values[:3].reshape(3, 1, 28, 28)
    for name in CORRUPTIONS:
        assert (corrupt(digits, name, 2) != digits / np.float32(255)).any()
