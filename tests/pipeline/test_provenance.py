"""What a report says of where its numbers are from: what the trainings' own runs say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pipeline.views.provenance import provenance, run_ids
from pipeline.views.report_rows import Row

ROWS = [Row(m, None, {}, [0.5, 0.5], 1, 1.0, [], [f"{m}0", f"{m}1"]) for m in "ab"]


def told(origins: dict[str, tuple[str, dict[str, str]]]) -> dict[str, str]:
    run: Any = SimpleNamespace(
        config=SimpleNamespace(name="tiny", limit=None, seeds=(0, 1)),
        facts=SimpleNamespace(name="tiny", hash8="12345678"),
        tracking=SimpleNamespace(uri="sqlite:///x.db", parent="p", origin=origins.__getitem__),
    )
    return {name: value for name, value in provenance(run, ROWS)}


def test_code_that_differs_is_told_with_how_many_runs_are_of_it() -> None:
    old = ("2026-01-02", {"mlflow.source.git.commit": "abc", "version.torch": "2"})
    new = ("2026-01-03", {"mlflow.source.git.commit": "def", "mlflow.source.git.dirty": "true"})
    found = told({"a0": old, "a1": old, "b0": old, "b1": new})
    changed = "def, with changes that are not committed (1 of 4 runs)"
    assert found["code"] == f"abc (3 of 4 runs); {changed}"
    assert found["trained"] == "2026-01-02 to 2026-01-03"


def test_code_of_all_runs_is_told_once() -> None:
    one = ("2026-01-02", {"mlflow.source.git.commit": "abc", "host": "h"})
    found = told(dict.fromkeys(("a0", "a1", "b0", "b1"), one))
    assert (found["code"], found["host"], found["trained"]) == ("abc", "h", "2026-01-02")


def test_each_row_names_its_runs() -> None:
    assert run_ids(ROWS) == [["a", "a0, a1"], ["b", "b0, b1"]]
