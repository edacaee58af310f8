"""Zoos in public layouts become zoos of this format: the same networks, the same facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layouts import LAYOUTS, W0, Truth
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from dws import WeightSpace
from zoo_gen import SourceError, Split, Store, ZooError, ZooReader
from zoo_gen.exchange.imports import FORMATS, Import, open_source

SPLIT = Split(6, 2, 2)
ROWS = 7


def bring(
    kind: str, src: Path, root: Path | str, network: dict[str, Any] | None = None, **options: Any
) -> ZooReader:
    """An import, run and opened."""
    source = open_source(kind, src, **options)
    net = source.forward_pass.updated(**(network or {}))
    job = Import(Store(str(root)), "zoo", source, SPLIT, net, ROWS)
    job.run()
    return ZooReader(job.store, job.folder)


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ZooReader, Truth, str]:
    """A zoo of each layout, what it was written from, and the layout."""
    folder = tmp_path_factory.mktemp(request.param)
    truth = LAYOUTS[request.param](folder / "src")
    known = {"activation": "sine"} if request.param == "folder" else None
    zoo = bring(request.param, folder / "src", folder / "root", known, **truth.options)
    return zoo, truth, request.param


Case = tuple[ZooReader, Truth, str]


def test_every_public_layout_is_tried_here() -> None:
    assert set(LAYOUTS) | {"safetensors"} == set(FORMATS)


def test_weights_are_those_of_parameters_to_vector(imported: Case) -> None:
    zoo, truth, _ = imported
    expected = torch.stack([parameters_to_vector(net.parameters()) for net in truth.nets])
    assert torch.equal(zoo.theta(), expected.detach())


def test_the_space_is_that_of_the_module(imported: Case) -> None:
    zoo, truth, _ = imported
    assert zoo.space == WeightSpace.from_module(truth.nets[0])


def test_networks_draw_what_they_drew(imported: Case) -> None:
    zoo, truth, kind = imported
    if kind == "unterthiner-cnn":
        return  # its networks take images: the next test runs them
    x = np.random.default_rng(0).uniform(-1, 1, (40, zoo.space.sizes["n0"])).astype(np.float32)
    assert zoo.forward_pass.w0 == W0
    theirs_at = torch.from_numpy(x[:, ::-1].copy() if truth.grid == "xy" else x)
    for member in (0, len(zoo) // 2, len(zoo) - 1):
        theirs = truth.nets[member](theirs_at).detach() + truth.offset
        torch.testing.assert_close(zoo.draw(member, x), theirs, rtol=0, atol=1e-5)


def test_convolutions_answer_what_they_answered(tmp_path: Path) -> None:
    truth = LAYOUTS["unterthiner-cnn"](tmp_path / "src")
    zoo = bring("unterthiner-cnn", tmp_path / "src", tmp_path / "root")
    images = torch.randn(3, 1, 9, 9)
    net = truth.nets[5]
    before = net(images)
    vector_to_parameters(torch.zeros(zoo.space.size), net.parameters())
    vector_to_parameters(zoo.rows(5, 6).theta[0], net.parameters())
    torch.testing.assert_close(net(images), before, rtol=0, atol=0)


def test_columns_tell_what_was_known(imported: Case) -> None:
    zoo, truth, _ = imported
    columns = zoo.columns()
    for name, values in truth.columns.items():
        np.testing.assert_array_equal(columns[name], np.array(values, columns[name].dtype))


def test_what_is_unknown_is_null(imported: Case) -> None:
    zoo, _, _ = imported
    frame = zoo.frame()
    assert frame[["seed", "loss", "psnr", "steps"]].isna().all().all()
    assert frame.notna()[["member", "signal", "view", "split", "status"]].all().all()


def test_all_views_of_a_signal_are_on_one_side(imported: Case) -> None:
    frame = imported[0].frame()
    assert (frame.groupby("signal")["split"].nunique() == 1).all()
    assert set(frame["split"]) == {"train", "val", "test"}


def test_the_sources_test_part_stays_the_test_part(tmp_path: Path) -> None:
    LAYOUTS["dwsnets-mnist"](tmp_path / "src")
    frame = bring("dwsnets-mnist", tmp_path / "src", tmp_path / "root").frame()
    assert ((frame["split"] == "test") == (frame["signal"] >= 60_000)).all()
    assert (frame["split"] == "val").sum() == 5  # 6 : 2 of twenty


def test_a_lot_is_by_signal_and_seeded(tmp_path: Path) -> None:
    LAYOUTS["nfn-siren"](tmp_path)
    listing = open_source("nfn-siren", tmp_path).listing
    first = listing.dealt(Split(6, 2, 2, 0))
    np.testing.assert_array_equal(first, listing.dealt(Split(6, 2, 2, 0)))
    assert (first != listing.dealt(Split(6, 2, 2, 1))).any()
    assert [int((first == s).sum()) for s in ("train", "val", "test")] == [28, 12, 8]


def test_one_step_of_a_run_can_be_taken_alone(tmp_path: Path) -> None:
    LAYOUTS["unterthiner-cnn"](tmp_path / "src")
    columns = bring("unterthiner-cnn", tmp_path / "src", tmp_path / "root", step=86).columns()
    assert set(columns["step"]) == {86}
    assert len(columns["step"]) == 9


def test_keras_flattens_places_first(tmp_path: Path) -> None:
    from zoo_gen.exchange.imports.layers import layout_of

    conv = torch.nn.Conv2d(2, 3, 2)
    linear = torch.nn.Linear(12, 5)
    net = torch.nn.Sequential(conv, torch.nn.Flatten(), linear)
    # a Keras layer sees places (2, 2) before channels
    dense = linear.weight.T.reshape(3, 4, 5).transpose(0, 1).reshape(12, 5)
    tensors = {
        "a/kernel:0": conv.weight.permute(2, 3, 1, 0),
        "a/bias:0": conv.bias,
        "b/kernel:0": dense,
        "b/bias:0": linear.bias,
    }
    layout = layout_of([(n, tuple(x.shape)) for n, x in tensors.items()], "keras")
    theta = layout.theta({n: x.detach()[None].numpy() for n, x in tensors.items()})
    expected = parameters_to_vector(net.parameters()).detach().numpy()
    np.testing.assert_array_equal(theta[0], expected)


def test_layer_ten_comes_after_layer_nine(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(12)))
    (tmp_path / "src").mkdir()
    for i in range(3):
        save_file(net.state_dict(), tmp_path / "src" / f"{i}.safetensors")
    zoo = bring("folder", tmp_path / "src", tmp_path / "root")
    assert torch.equal(zoo.theta()[0], parameters_to_vector(net.parameters()).detach())


def test_an_interrupted_import_reads_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS["dwsnets-mnist"](tmp_path / "src")
    whole = bring("dwsnets-mnist", tmp_path / "src", tmp_path / "whole")
    source = open_source("dwsnets-mnist", tmp_path / "src")
    job = Import(Store(str(tmp_path / "root")), "zoo", source, SPLIT, None, ROWS)

    def stop(done: int) -> None:
        if done > 2 * ROWS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(stop)
    assert len(job.store.names(f"{job.folder}/shards")) == 2
    again = job.run()
    assert (again.read, again.members) == (30 - 2 * ROWS, 30)
    for name in whole.store.names(whole.path("shards")):
        path = f"{job.folder}/shards/{name}"
        assert job.store.read(path) == whole.store.read(path)
    assert job.run().read == 0


def test_an_import_to_s3_gives_the_bytes_that_a_local_one_gives(tmp_path: Path, s3: str) -> None:
    LAYOUTS["nfn-siren"](tmp_path / "src")
    here = bring("nfn-siren", tmp_path / "src", tmp_path / "root")
    there = bring("nfn-siren", tmp_path / "src", f"{s3}/imported")
    assert there.url == f"{s3}/imported/{here.folder}"
    shards = here.store.names(here.path("shards"))
    assert there.store.names(there.path("shards")) == shards
    for name in shards:
        path = here.path(f"shards/{name}")
        assert there.store.read(path) == here.store.read(path)


def test_progress_rises_to_the_number_of_members(tmp_path: Path) -> None:
    LAYOUTS["nef-arena"](tmp_path / "src")
    told: list[int] = []
    source = open_source("nef-arena", tmp_path / "src")
    Import(Store(str(tmp_path / "root")), "zoo", source, SPLIT, None, ROWS).run(told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 30)


def test_where_a_source_lies_does_not_count_but_what_it_holds_does(tmp_path: Path) -> None:
    hashes = []
    for place in ("a", "b", "c"):
        LAYOUTS["folder"](tmp_path / place)
        if place == "c":
            labels = tmp_path / place / "labels.csv"
            labels.write_text(labels.read_text().replace("k3", "k9"))
        source = open_source("folder", tmp_path / place)
        hashes.append(Import(Store(str(tmp_path)), "zoo", source, SPLIT).hash8)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_folder_of_another_zoo_is_not_overwritten(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "src")
    zoo = bring("folder", tmp_path / "src", tmp_path / "root")
    file = zoo.store.local(zoo.path("zoo.json"))
    told = json.loads(file.read_text())
    told["recipe"]["signals"] = 99
    file.write_text(json.dumps(told))
    with pytest.raises(ZooError, match="describes another zoo"):
        bring("folder", tmp_path / "src", tmp_path / "root")


def test_weights_that_are_not_finite_are_marked(tmp_path: Path) -> None:
    truth = LAYOUTS["folder"](tmp_path / "src")
    path = tmp_path / "src" / "runs" / "a" / "model-4.pth"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["body.in.bias"][1] = torch.nan
    torch.save(content, path)
    zoo = bring("folder", tmp_path / "src", tmp_path / "root")
    assert zoo.columns()["status"].tolist() == ["ok"] * 2 + ["diverged"] + ["ok"] * (
        len(truth.nets) - 3
    )


def test_networks_of_unknown_activation_are_not_drawn(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "src")
    zoo = bring("folder", tmp_path / "src", tmp_path / "root")
    with pytest.raises(ZooError, match="import them again with --activation"):
        zoo.draw(0, np.zeros((1, 3)))


def test_a_signal_in_two_splits_is_refused(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "src")
    file = tmp_path / "src" / "labels.csv"
    head, *lines = file.read_text().splitlines()
    file.write_text(
        "\n".join([f"{head},signal", *(f"{line},{i % 2}" for i, line in enumerate(lines))])
    )
    source = tmp_path / "src" / "runs" / "b" / "model-5.pt"  # the one without a label
    source.unlink()
    with pytest.raises(SourceError, match="signal 0 in the splits"):
        bring("folder", tmp_path / "src", tmp_path / "root")
