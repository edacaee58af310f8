"""A recipe's hash covers what changes the rows, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zoo_gen import ConfigError, Digits, Fit, Idx, Recipe, Signals, Split, Zoo
from zoo_gen.recipe.recipe import hashed

BASE = Zoo(Fit((2, 4, 1)), Split(7, 1, 2))
CHANGES = {
    "widths": replace(BASE, fit=Fit((2, 5, 1))),
    "w0": replace(BASE, fit=replace(BASE.fit, w0=1.0)),
    "init": replace(BASE, fit=replace(BASE.fit, init="paper")),
    "steps": replace(BASE, fit=replace(BASE.fit, steps=2)),
    "learning_rate": replace(BASE, fit=replace(BASE.fit, learning_rate=0.1)),
    "offset": replace(BASE, fit=replace(BASE.fit, offset=0.0)),
    **{
        key: replace(BASE, fit=replace(BASE.fit, **{"init": "default", key: value}))
        for key, value in {
            "activation": "relu",
            "shared_init": True,
            "fourier_features": 4,
            "fourier_scale": 1.0,
            "loss": "cross_entropy",
            "optimizer": "sgd",
            "momentum": 0.5,
            "weight_decay": 0.1,
            "schedule": "cosine",
            "points_per_step": 5,
            "target_loss": 1e-4,
        }.items()
    },
    "shares": replace(BASE, split=Split(6, 2, 2)),
    "split seed": replace(BASE, split=replace(BASE.split, seed=1)),
    "views": replace(BASE, views=2),
    "seed": replace(BASE, seed=1),
    "rows_per_shard": replace(BASE, rows_per_shard=7),
}


def test_every_part_of_a_recipe_changes_its_hash(signals: Signals) -> None:
    recipes = [Recipe.of("a", Digits(), signals, zoo) for zoo in (BASE, *CHANGES.values())]
    recipes.append(Recipe.of("b", Digits(), signals, BASE))
    recipes.append(Recipe.of("a", Digits(), signals.limited(20), BASE))
    recipes.append(replace(recipes[0], fingerprint="other"))
    assert len({r.hash8 for r in recipes}) == len(recipes)


def test_where_a_source_lies_is_no_part_of_the_hash() -> None:
    assert hashed(Idx(path="here")) == hashed(Idx(path="there"))


def test_the_hash_is_stable() -> None:
    recipe = Recipe("name", {"kind": "digits"}, "fingerprint", 10, BASE)
    assert recipe.hash8 == "bd355ef8"


def test_member_seeds_differ_and_depend_on_seed_and_member_alone(recipe: Recipe) -> None:
    seeds = [recipe.member_seed(m) for m in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= s < 2**63 for s in seeds)
    other = replace(recipe, zoo=replace(recipe.zoo, views=1, rows_per_shard=5))
    assert [other.member_seed(m) for m in range(2000)] == seeds
    reseeded = replace(recipe, zoo=replace(recipe.zoo, seed=1))
    assert reseeded.member_seed(0) != seeds[0]


def test_a_shared_initialisation_is_that_of_the_view(recipe: Recipe) -> None:
    fit = replace(recipe.zoo.fit, shared_init=True)
    shared = replace(recipe, zoo=replace(recipe.zoo, fit=fit, views=3))
    seeds = [shared.member_seed(m) for m in range(6)]
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3


def test_shards_cut_the_members_without_gap_or_overlap(recipe: Recipe) -> None:
    rows = np.concatenate([recipe.rows(i) for i in range(recipe.shards)])
    assert rows.tolist() == list(range(90))


@given(st.integers(10, 60), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
def test_splits_are_exact_shares_of_the_signals(n: int, train: int, val: int, test: int) -> None:
    signals = Digits().load().limited(n)
    try:
        assigned = Split(train, val, test).assign(signals)
    except ConfigError as error:
        assume("split empty" not in str(error))
        raise
    for name, share in (("train", train), ("val", val), ("test", test)):
        assert abs((assigned == name).sum() - n * share / (train + val + test)) < 1


def test_a_sources_own_test_part_is_the_test_split(signals: Signals) -> None:
    own = np.where(np.arange(30) < 24, "train", "test")
    mine = replace(signals, part=own)
    assigned = Split(50, 10, 1).assign(mine)
    assert (assigned[24:] == "test").all()
    assert (assigned == "val").sum() == 4
    assert (assigned == "train").sum() == 20


def test_the_split_seed_deals_anew(signals: Signals) -> None:
    a, b = (Split(7, 1, 2, seed=s).assign(signals) for s in (0, 1))
    assert (a != b).any()


def test_an_empty_split_is_refused(signals: Signals) -> None:
    with pytest.raises(ConfigError, match="leave the val split empty"):
        Split(1000, 1, 1000).assign(signals)


def test_widths_must_fit_the_signals(signals: Signals) -> None:
    with pytest.raises(ConfigError, match=r"got \[3, 4, 1\], but the signals have 2 inputs"):
        Recipe.of("a", Digits(), signals, replace(BASE, fit=Fit((3, 4, 1))))
