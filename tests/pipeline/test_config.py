"""Every wrong key is named, with what came, what is allowed and the nearest right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.builtin import built_in_configs
from pipeline.config.config import Config, load
from pipeline.config.files import format_yaml
from zoo_gen import ConfigError

WRONG = {
    "zoo.vews=3": r"^zoo.vews: unknown key \(did you mean views\?\); allowed: fit, split, views",
    "zoo.fit.step=3": r"^zoo.fit.step: unknown key \(did you mean steps\?\)",
    "views=3": r"^views: unknown key \(did you mean zoo.views\?\)",
    "sorce=1": r"^sorce: unknown key \(did you mean source\?\)",
    "zoo.views=a": r'^zoo.views: got "a", expected integer',
    "zoo.views=1.5": r"^zoo.views: got 1.5, expected .*integer",
    "zoo.views=true": r"^zoo.views: got true, expected integer",
    "zoo.views=": r"^zoo.views: got null, expected integer",
    "zoo.views=0": r"^zoo.views: got 0, expected 1 or more",
    "zoo.fit.w0=-1": r"^zoo.fit.w0: got -1.0, expected a positive number",
    "zoo.fit.widths=[2, 1]": r"^zoo.fit.widths: got \[2, 1\], expected",
    "zoo.fit.init=random": r"^zoo.fit.init: got 'random', expected 'siren', 'paper' or 'default'",
    "zoo.split.val=0": r"^zoo.split.val: got 0, expected 1 or more",
    "source.kind=digit": r"^source.kind: got digit \(did you mean digits\?\); allowed: digits, idx",
    "source.path=x": r"^source.path: unknown key; allowed: kind",
    "models.new={}": r"^models.new.network: missing",
    "models.dwsnet.network.kind=dws": r"^models.dwsnet.network.kind: got dws \(did you mean dwsnet",
    "models.dwsnet.network.layrs=2": r"^models.dwsnet.network.layrs: unknown .*did you mean layers",
    "models.dwsnet.network.layers=0": r"^models.dwsnet.network.layers: got 0, expected more than 0",
    "models.mlp.network.hidden=[1, b]": r'^models.mlp.network.hidden.1: got "b", expected integer',
    "models.mlp.training.augment=flip": r'^models.mlp.training.augment: got "flip", expected',
    "models.mlp.training.augment.rotate=3": r"augment.rotate: unknown key \(did you mean rotation",
    "models.mlp.training.augment.mixup=-1": r"^models.mlp.training.augment.mixup: got -1.0, expect",
    "models.mlp.training.augment.noise=a": r'^models.mlp.training.augment.noise: got "a", expected',
    "models.mlp.training.prepare=sort": r"^models.mlp.training.prepare: got 'sort', expected",
    "seeds=3": r"^seeds: got 3, expected a list, such as \[0, 1, 2\]$",
    "train_on=300": r"^train_on: got 300, expected a list, such as \[300\]$",
    "task=classify": r'^task: got "classify", expected keys and values$',
    "seeds=[1, 1]": r"^seeds: got \[1, 1\], expected different ones",
    "seeds=[]": r"^seeds: got \[\], expected different ones, at least one",
    "seeds=[-1]": r"^seeds: got \[-1\], expected whole numbers from 0",
    "zoo.split.seed=-1": r"^zoo.split.seed: got -1, expected 0 or more",
    "zoo.fit.activation=relu": r"^zoo.fit.init: got paper, which is made for sine; relu takes def",
    "zoo.fit.momentum=1.0": r"^zoo.fit.momentum: got 1.0, expected 0 or more, below 1",
    "zoo.fit.weight_decay=-1": r"^zoo.fit.weight_decay: got -1.0, expected 0 or more",
    "zoo.fit.points_per_step=-1": r"^zoo.fit.points_per_step: got -1, expected 0 or more",
    "zoo.most_diverged=2": r"^zoo.most_diverged: got 2.0, expected 0 to 1",
    "zoo.fit.offset=.nan": r"^zoo.fit.offset: got nan, expected a finite number",
    "models.mlp.training.learning_rate=.inf": r"learning_rate: got inf, expected more than 0",
    "name=../x": r"^name: got '../x'; names become file names",
    "zoo.views.x=2": r"^--set zoo.views.x=2: zoo.views has no keys below it",
    "zoo": r"^--set zoo: expected key.sub=value",
    "zoo.views=[": r"is not a YAML value",
    "source.path={{ DIR }}": r"^--set source.path=.* is not a YAML value",
    "zoo.views={[a]: 1}": r"is not a YAML value",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_value_is_told_by_its_key(change: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[change]) as caught:
        load("digits", (change,))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["5e-3", "0.005", "5.0E-3", "+.005"])
def test_numbers_are_read_as_people_write_them(text: str) -> None:
    config, _ = load("digits", (f"models.dwsnet.training.learning_rate={text}",))
    assert config.models["dwsnet"].training.learning_rate == 0.005


def test_all_errors_of_a_file_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"zoo.seed: got.*; zoo.view: unknown"):
        load("digits", ("zoo.view=1", "zoo.seed=x"))


def test_what_is_wrong_with_several_models_alike_is_told_once() -> None:
    models = ("dwsnet", "mlp", "mlp-permuted")
    changes = [f"models.{model}.training.epocs=3" for model in models[:2]]
    with pytest.raises(ConfigError) as told:
        load("digits", (*changes, "models.mlp-permuted.network.hiden=[3]"))
    first, other = str(told.value).split("; models.")
    assert first.startswith("models.dwsnet.training.epocs: unknown key (did you mean epochs?)")
    assert first.endswith("prepare (also in mlp)")
    assert other.startswith("mlp-permuted.network.hiden: unknown key")


@pytest.mark.parametrize("name", sorted(built_in_configs()))
def test_built_in_configs_load_and_say_what_they_are(name: str) -> None:
    config, text = load(name)
    assert config.name == name
    assert 20 < len(config.description) < 100
    assert "zoo:" in text


def test_an_unknown_config_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError, match=r"did you mean digits\?\); built in: adapt-cifar10, cifar10, cnn"
    ):
        load("digist")


def test_an_unknown_file_names_the_nearest_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    with pytest.raises(ConfigError, match=r"did you mean .*/mine\.yaml\?"):
        load(f"{tmp_path}/mine.yml")


def test_the_text_kept_for_the_record_loads_to_the_same_config(tmp_path: Path) -> None:
    config, text = load("digits", ("zoo.views=2", "models.mlp.network.hidden=[7]"), limit=100)
    (tmp_path / "again.yaml").write_text(text)
    assert load(str(tmp_path / "again.yaml"))[0] == config
    assert isinstance(config, Config)
    assert config.limit == 100


NO_WORDS = ["b: {{ DIR }}", "? [b]\n: 2", "2020-01-01: 2", "? !!binary aGk=\n: 2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b", "expected keys and values, got list"),
        ("a: [", "is not YAML"),
        ("", "got nothing$"),
        *((f"a: 1\n{line}", "is not YAML: .*(not a word|unhashable)") for line in NO_WORDS),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(content)
    with pytest.raises(ConfigError, match=f"my.yaml: .*{message}"):
        load(str(tmp_path / "my.yaml"))


def test_a_config_without_a_required_key_says_which(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: a\ndescription: b\nsource: {kind: digits}")
    with pytest.raises(ConfigError, match=r"zoo: missing; it has no default"):
        load(str(tmp_path / "my.yaml"))


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: a\nseeds: [0]\nseeds: [1]\n")
    with pytest.raises(ConfigError, match="line 3: the key seeds is given twice"):
        load(str(tmp_path / "my.yaml"))


def test_an_anchor_that_refers_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: &x {b: *x}\n")
    with pytest.raises(ConfigError, match="an anchor refers to itself"):
        load(str(tmp_path / "my.yaml"))


def test_letters_of_all_languages_stay_what_they_are() -> None:
    assert format_yaml({"published": "85.71 ± .57"}) == "published: 85.71 ± .57\n"
