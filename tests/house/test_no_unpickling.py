"""Files that others wrote are read without running code in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_tree import PACKAGES, ROOT, python_files

UNSAFE = {  # what unpickles or runs a file, and the argument with which it does not
    "pickle.load": None,
    "pickle.loads": None,
    "pickle.Unpickler": None,
    "cloudpickle.load": None,
    "cloudpickle.loads": None,
    "joblib.load": None,
    "pd.read_pickle": None,
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "yaml.unsafe_load": None,
    "eval": None,
    "exec": None,
}


def unsafe(source: str) -> Iterator[str]:
    """Calls that may run code of the file they read."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or (name := ast.unparse(node.func)) not in UNSAFE:
            continue
        safe = UNSAFE[name]
        given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if safe is None or given.get(safe[0]) is not safe[1]:
            yield f"{name} in line {node.lineno}"


def test_no_file_is_unpickled() -> None:
    found = {file.as_posix(): list(unsafe((ROOT / file).read_text())) for file in files()}
    assert {file: calls for file, calls in found.items() if calls} == {}


def files() -> list[Path]:
    """Of all packages."""
    return python_files(*PACKAGES)


@pytest.mark.parametrize(
    "call",
    ["pickle.loads(data)", "torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f)"],
)
def test_an_unsafe_call_would_be_seen(call: str) -> None:
    assert list(unsafe(call))


def test_safe_calls_pass() -> None:
    assert not list(unsafe("torch.load(f, weights_only=True), np.load(f, allow_pickle=False)"))
