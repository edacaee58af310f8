"""`dwszoo import` and `dwszoo export` as a person uses them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# one description of the public layouts serves the tests of both floors
sys.path.insert(0, str(Path(__file__).parents[1] / "zoo_gen"))

from layouts import LAYOUTS

from zoo_gen import ForwardPass, open_zoo
from zoo_gen.exchange.imports import FORMATS


def test_an_import_prints_the_zoo_and_tells_what_it_did(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["nfn-siren"](tmp_path / "siren mnist")
    root = tmp_path / "root"
    command = ("import", "nfn-siren", tmp_path / "siren mnist", "--root", root)
    code, out, err = dwszoo(*command, "--split-at", "7,9")
    assert code == 0, err
    assert "siren-mnist-" in err
    assert "48 networks" in err
    zoo = open_zoo(out.strip())
    assert (len(zoo), zoo.signals) == (48, 12)
    code, again, err = dwszoo(*command, "--split-at", "7,9")
    assert (code, again) == (0, out)
    assert ": 0 networks" in err


def test_what_a_person_tells_of_the_networks_is_kept(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["dwsnets-sine"](tmp_path / "src")
    arguments = ("--w0", 10, "--offset", 0, "--root", tmp_path, "--name", "waves")
    code, out, err = dwszoo("import", "dwsnets-sine", tmp_path / "src", *arguments)
    assert code == 0, err
    assert open_zoo(out.strip()).forward_pass == ForwardPass("sine", 10.0, 0.0)


def test_left_out_files_are_counted(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["nfn-siren"](tmp_path / "src")
    next((tmp_path / "src").rglob("net3.pth")).write_bytes(b"hello")
    command = ("import", "nfn-siren", tmp_path / "src", "--root", tmp_path)
    code, _, err = dwszoo(*command)
    assert code == 1
    assert "net3.pth: it cannot be read" in err
    code, _, err = dwszoo(*command, "--skip-bad")
    assert code == 0, err
    assert "1 files could not be imported and were left out" in err


def test_an_imported_zoo_can_be_inspected(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["unterthiner-cnn"](tmp_path / "src")
    dwszoo("import", "unterthiner-cnn", tmp_path / "src", "--root", tmp_path, "--name", "cnns")
    code, out, err = dwszoo("inspect", "cnns", "--root", tmp_path)
    assert code == 0, err
    assert "4x1x9" in out
    assert "nan" not in out


def test_export_and_import_are_inverse(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["dwsnets-mnist"](tmp_path / "src")
    _, first, _ = dwszoo("import", "dwsnets-mnist", tmp_path / "src", "--root", tmp_path)
    code, out, err = dwszoo(
        "export", "src", tmp_path / "files", "--format", "pth", "--root", tmp_path
    )
    assert (code, out.strip()) == (0, str(tmp_path / "files")), err
    _, second, _ = dwszoo("import", "folder", tmp_path / "files", "--root", tmp_path)
    a, b = open_zoo(first.strip()).frame(), open_zoo(second.strip()).frame()
    assert a.equals(b)


MISTAKES = {
    "format": (["import", "nfn", "."], 2, "FORMAT: got 'nfn', expected one of dwsnets-mnist"),
    "source": (["import", "folder", "/nowhere"], 1, "/nowhere does not exist"),
    "split": (["import", "folder", ".", "--split", "8,1"], 2, "--split: got '8,1', expected 3"),
    "no shares": (["import", "folder", ".", "--split", "8,0,2"], 2, "val: got 0"),
    "name": (["import", "folder", ".", "--name", "a/b"], 2, "--name: got 'a/b'"),
    "zoo": (["export", "nothing", "x", "--format", "pth"], 1, "holds no zoo"),
    "kind": (["export", "nothing", "x", "--format", "onnx"], 2, "'onnx' is not one of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(dwszoo, mistake: str, tmp_path: Path) -> None:
    arguments, code, message = MISTAKES[mistake]
    got, _, err = dwszoo(*arguments, "--root", tmp_path)
    assert (got, message in err) == (code, True), err
    assert "Traceback" not in err


def test_help_names_every_format(dwszoo) -> None:
    _, out, _ = dwszoo("import", "--help")
    assert all(kind in out for kind in FORMATS)


def test_an_unknown_label_is_told_before_training(dwszoo, tmp_path: Path) -> None:
    from training.tasks import load
    from zoo_gen import TrainingError

    LAYOUTS["folder"](tmp_path / "src")
    _, out, _ = dwszoo("import", "folder", tmp_path / "src", "--root", tmp_path)
    with pytest.raises(TrainingError, match="'label' is text, unknown for some networks"):
        load(open_zoo(out.strip()))


def test_an_imported_zoo_can_be_trained_on(dwszoo, tmp_path: Path) -> None:
    from training.tasks import load

    LAYOUTS["nfn-siren"](tmp_path / "src")
    arguments = ("--root", tmp_path, "--split-at", "7,9")
    _, out, _ = dwszoo("import", "nfn-siren", tmp_path / "src", *arguments)
    data = load(open_zoo(out.strip()))
    assert (data.classes, data.forward_pass.w0, len(data.theta)) == (4, 30.0, 48)


def test_a_layout_is_exported_with_what_its_loader_needs_to_know(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["nfn-siren"](tmp_path / "src")
    arguments = ("--root", tmp_path, "--split-at", "7,9", "--name", "sirens")
    assert dwszoo("import", "nfn-siren", tmp_path / "src", *arguments)[0] == 0
    arguments = ("--root", tmp_path, "--layout", "nfn")
    code, out, err = dwszoo("export", "sirens", tmp_path / "out", *arguments)
    assert (code, out.strip()) == (0, str(tmp_path / "out")), err
    assert "set split_points to [7, 9] in its config" in err


@pytest.mark.parametrize("choice", [(), ("--layout", "nfn", "--format", "pth")])
def test_an_export_is_in_one_format_or_layout(dwszoo, tmp_path: Path, choice: tuple) -> None:
    code, _, err = dwszoo("export", "zoo", tmp_path / "out", "--root", tmp_path, *choice)
    assert code == 2
    assert "give one of --format and --layout" in err


def test_an_import_of_unknown_activation_says_so(dwszoo, tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "src")
    for known, said in (((), True), (("--activation", "tanh", "--grid", "xy"), False)):
        code, out, err = dwszoo("import", "folder", tmp_path / "src", "--root", tmp_path, *known)
        assert code == 0, err
        assert ("the activation of its networks is not known" in err) == said
    assert open_zoo(out.strip()).forward_pass == ForwardPass("tanh", grid="xy")
