"""The help of the command line, and what a shell completes; both load nothing heavy."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from pipeline.commands.cli import CONTENTS, cli, main
from pipeline.commands.completion import VARIABLE
from pipeline.config.builtin import built_in_configs

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "ray", "mlflow", "pydantic", "matplotlib"}


def completed(*words: str) -> list[str]:
    """What bash proposes for the last word."""
    *before, last = words
    found = BashComplete(cli, {}, "dwszoo", VARIABLE).get_completions(before, last)
    return [item.value or item.type for item in found]


def test_each_command_stands_in_the_contents_once(dwszoo) -> None:
    _, told, _ = dwszoo("--help")
    listed = [usage.split()[0] for section in CONTENTS.values() for usage in section]
    assert sorted(listed) == sorted(cli.commands)
    for section in CONTENTS.values():
        for usage, line in section.items():
            assert re.search(rf"^  {re.escape(usage)} +{re.escape(line)}$", told, re.M)


@pytest.mark.parametrize("name", ["", *cli.commands])
def test_help_has_an_example_and_fits_a_terminal(dwszoo, name: str) -> None:
    code, told, _ = dwszoo(*([name] if name else []), "--help")
    assert code == 0
    assert re.search(rf"^  dwszoo {name or 'run'}\b", told, re.M)
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize(
    "program",
    [
        "from pipeline.commands.cli import status; status(['--help']); status(['run', '--help'])",
        "from tests.pipeline.test_help import completed; completed('run', ''); "
        "completed('inspect', ''); completed('predict', ''); completed('import', '')",
    ],
    ids=["help", "completion"],
)
def test_it_loads_nothing_heavy(program: str) -> None:
    heavy = f"import sys; print(*{HEAVY!r} & sys.modules.keys())"
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}\n{heavy}"], cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, ""), ran.stderr


def test_commands_options_and_their_values_are_completed() -> None:
    assert completed("ru") == ["run"]
    assert completed("run", "--eng") == ["--engine"]
    assert completed("run", "--engine", "") == ["ray", "local"]


@pytest.mark.parametrize("command", ["run", "generate", "train", "tune", "report", "submit"])
def test_a_config_is_a_built_in_one_or_a_file(command: str) -> None:
    assert completed(command, "") == list(built_in_configs())
    assert completed(command, "mn") == ["mnist-edit", "mnist-retrieve", "mnist"]
    assert completed(command, "./m") == ["file"]


@pytest.mark.parametrize("command", [("inspect",), ("export",), ("predict", "MODEL")])
def test_a_zoo_is_one_below_the_root_or_a_folder(tmp_path: Path, command: tuple[str, ...]) -> None:
    for name in ("digits-11111111", "mnist-22222222", ".probe"):
        (tmp_path / "zoos" / name).mkdir(parents=True)
    root = ("--root", str(tmp_path))
    assert completed(command[0], *root, *command[1:], "") == ["digits-11111111", "mnist-22222222"]
    assert completed(command[0], *root, *command[1:], "d") == ["digits-11111111"]
    assert completed(command[0], *root, *command[1:], "x") == ["file"]
    assert completed(command[0], "--root", "s3://b/p", *command[1:], "") == ["file"]


def test_a_model_is_told_once_for_all_its_seeds(tmp_path: Path) -> None:
    for folder in ("my-mlp-seed0-11111111", "my-mlp-seed1-22222222", "my-seeds-seed0-33333333"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    assert completed("predict", "--root", str(tmp_path), "") == ["my-mlp", "my-seeds"]
    assert completed("predict", "--root", str(tmp_path), "x") == ["file"]


def test_a_format_is_one_that_can_be_imported() -> None:
    from zoo_gen.exchange.imports import (
        FORMATS,  # heavy, and this module is loaded where nothing may be
    )

    assert completed("import", "") == list(FORMATS)
    assert completed("import", "ne") == ["nef-arena"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed(dwszoo, shell: str) -> None:
    code, script, _ = dwszoo("completion", shell)
    assert code == 0
    assert f"{VARIABLE}={shell}_complete" in script


def test_zsh_is_given_what_a_bare_zshrc_lacks(dwszoo) -> None:
    _, script, _ = dwszoo("completion", "zsh")
    assert script.startswith("#compdef dwszoo\n")
    assert script.index("compinit") < script.index("compdef _dwszoo_completion")


def test_bash_completes_with_the_script(dwszoo, tmp_path: Path) -> None:
    _, script, _ = dwszoo("completion", "bash")
    command = tmp_path / "dwszoo"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -m pipeline\n")
    command.chmod(0o755)
    program = f"""{script}
        compopt() {{ :; }}
        COMP_WORDS=(dwszoo run dig); COMP_CWORD=2
        _dwszoo_completion {command} dig run
        echo "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "digits\n", ran.stderr


def test_an_unknown_command_names_the_nearest(dwszoo) -> None:
    code, _, err = dwszoo("doctr")
    assert code == 2
    assert "Did you mean 'doctor'?" in err
    assert err.endswith("try: dwszoo --help\n")
    assert "Commands: run, generate, train, tune, report, submit, inspect, predict, " in err


def test_the_name_alone_is_answered_by_the_help_alone(dwszoo) -> None:
    _, told, _ = dwszoo("--help")
    assert dwszoo() == (2, "", told)


def test_a_letter_that_the_terminal_lacks_is_a_question_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr("pipeline.commands.cli.status", lambda _: print("65.9 ± 0.5"))
    with pytest.raises(SystemExit):
        main()
    terminal.seek(0)
    assert terminal.read() == "65.9 ? 0.5\n"
