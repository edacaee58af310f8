"""Pages of zoos and reports, in a real browser, narrow and wide."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

# one description of the public layouts serves the tests of both floors
sys.path.insert(0, str(Path(__file__).parents[1] / "zoo_gen"))

import itertools

from layouts import LAYOUTS

from pipeline.commands.cli import status

CSS = (Path(__file__).parents[2] / "pipeline/views/templates/style.css").read_text()
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
    "--window-size=1400,900",
    "--dump-dom",
]
SHAPES = """
name: forms
description: a few shapes
source: {kind: shapes, count: 21, size: 12}
zoo:
  fit: {widths: [2, 6, 1], init: paper, w0: 5.0, steps: 10, offset: 0.0, learning_rate: 0.01}
  split: {train: 7, val: 7, test: 7}
"""
WIDTHS = (390, 1280)
MEASURE = """<script>addEventListener("load", () => {
  const page = document.scrollingElement, seen = e => e.getBoundingClientRect();
  parent.postMessage({
    name: location.hash.slice(1),
    width: innerWidth, scroll: page.scrollWidth,
    pictures: [...document.images].map(i => i.complete ? i.naturalWidth : 0),
    charts: [...document.querySelectorAll("svg")].map(s => seen(s).width),
    letters: [...document.querySelectorAll("svg text")].map(
      t => parseFloat(getComputedStyle(t).fontSize) * t.getCTM().a),
    squeezed: [...document.querySelectorAll(".trio img")].filter(i => seen(i).width < 60).length,
  }, "*");
});</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, tiny: Path, reported: Path) -> dict[str, Path]:
    """Pages of zoos of images, of distances and of classifiers, and of a report."""
    root = tmp_path_factory.mktemp("pages")
    (root / "forms.yaml").write_text(SHAPES)
    for config in (tiny, root / "forms.yaml"):
        assert status(["generate", str(config), "--root", str(root), "--engine", "local"]) == 0
    LAYOUTS["unterthiner-cnn"](root / "cnns")
    assert status(["import", "unterthiner-cnn", str(root / "cnns"), "--root", str(root)]) == 0
    found = {}
    for name in ("tiny", "forms", "cnns"):
        found[name] = root / f"{name}.html"
        command = ["inspect", name, "--root", str(root), "--html", str(found[name])]
        assert status(command) == 0
    return {**found, "report": reported / "report.html"}


@pytest.fixture(scope="module")
def measured(
    pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int], dict[str, Any]]:
    """(page, width) -> what the browser made of it. Frames: its windows are at least 500 wide."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    folder, frames = tmp_path_factory.mktemp("browser"), ""
    for name, page in pages.items():
        # the page allows no script: that which measures goes into a copy that does
        copy, count = re.subn("<meta http-equiv=.*?>", MEASURE, page.read_text(), count=1)
        assert count == 1
        (folder / page.name).write_text(copy)
        for width in WIDTHS:
            frames += f'<iframe src="{page.name}#{name}" width="{width}" height="700"></iframe>'
    listen = '<script>onmessage = e => document.querySelector("pre").append('
    listen += 'JSON.stringify(e.data) + "\\n");</script>'
    (folder / "all.html").write_text(
        f"<!DOCTYPE html><style>iframe {{ border: 0 }}</style><pre></pre>{listen}{frames}"
    )
    ran = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'user'}", f"file://{folder}/all.html"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    printed = re.search("<pre>(.*?)</pre>", ran.stdout, re.DOTALL)
    assert printed is not None, ran.stderr
    found = [json.loads(html.unescape(line)) for line in printed[1].splitlines()]
    assert len(found) == len(pages) * len(WIDTHS)
    return {(entry["name"], entry["width"]): entry for entry in found}


def test_nothing_is_broader_than_the_window(measured: dict[tuple[str, int], Any]) -> None:
    assert {key for key, seen in measured.items() if seen["scroll"] > key[1]} == set()


def test_every_picture_is_shown(measured: dict[tuple[str, int], Any]) -> None:
    assert all(0 not in seen["pictures"] for seen in measured.values())
    # twelve networks at most, each with its target and the difference, and one scale bar or two
    assert len(measured["tiny", 390]["pictures"]) > 30
    assert len(measured["forms", 390]["pictures"]) > 30


def test_charts_can_be_read(measured: dict[tuple[str, int], Any]) -> None:
    for seen in measured.values():
        assert min(seen["charts"]) > 250
        assert min(seen["letters"]) > 9
        assert seen["squeezed"] == 0


def test_a_classifier_zoo_shows_accuracy_against_what_was_drawn(pages: dict[str, Path]) -> None:
    text = pages["cnns"].read_text()
    for name in ("step", "config.dropout", "config.activation"):
        assert f'aria-label="test_accuracy against {name}, ' in text
    assert "relu</text>" in text


def test_distances_are_drawn_finely_with_their_zero(
    measured: dict[tuple[str, int], Any], pages: dict[str, Path]
) -> None:
    widths = measured["forms", 1280]["pictures"]
    assert widths.count(96) == 2 * widths.count(12) > 0  # target and network; the difference
    assert "target and network, line at 0" in pages["forms"].read_text()
    assert "target and network, line at 0" not in pages["tiny"].read_text()


def test_a_page_needs_nothing_but_itself(pages: dict[str, Path]) -> None:
    for page in pages.values():
        text = page.read_text()
        assert page.stat().st_size < 2e6
        assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/.]", text)
        assert "<script" not in text
        assert "default-src 'none'" in text
        stated = re.search(r"This page holds +([\d.]+) kB", text)
        assert stated is not None
        assert float(stated[1]) == pytest.approx(page.stat().st_size / 1e3, abs=0.05)


def test_a_page_of_large_networks_is_no_larger_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for i in range(6):
        torch.manual_seed(i)
        net = nn.Sequential(nn.Linear(700, 400), nn.ReLU(), nn.Linear(400, 10))
        torch.save(net.state_dict(), tmp_path / "src" / f"{i}.pth")
    root, file = str(tmp_path), tmp_path / "page.html"
    assert status(["import", "folder", str(tmp_path / "src"), "--root", root]) == 0
    assert status(["inspect", "src", "--root", root, "--html", str(file)]) == 0
    assert 2e5 < file.stat().st_size < 2e6
    assert "W1 (400x700, the first 35x700 of 400x700)" in file.read_text()


def test_a_page_can_be_heard(pages: dict[str, Path]) -> None:
    for page in pages.values():
        text = page.read_text()
        assert '<html lang="en">' in text
        assert len(re.findall("<h1", text)) == 1
        levels = [int(n) for n in re.findall(r"<h(\d)", text)]
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        images = re.findall("<img [^>]*>", text)
        assert images
        assert [i for i in images if not re.search('alt="[^"]{5,}"', i)] == []
        charts = re.findall("<svg [^>]*>", text)
        assert charts
        assert [c for c in charts if not re.search('aria-label="[^"]{5,}"', c)] == []


def test_letters_stand_out_in_light_and_in_dark() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        series = [name for name in colours if re.fullmatch(r"s\d", name)]
        assert len({colours[name] for name in series}) == 8  # of lines; the next are dashed
        for letters in ("ink", "soft", "warm", "good", "mark"):
            for ground in ("paper", "card"):
                assert contrast(colours[letters], colours[ground]) >= 4.5, (letters, ground)


def contrast(a: str, b: str) -> float:
    """Ratio of two colours' brightness, as WCAG 2 defines it."""

    def brightness(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((brightness(a), brightness(b)))
    return (high + 0.05) / (low + 0.05)


def test_a_report_shows_right_and_wrong_predictions(pages: dict[str, Path]) -> None:
    text = pages["report"].read_text()
    for heading in ("Models", "Training", "Confusion: ", "Examples: ", "Health of the zoo"):
        assert f"<h2>{heading}" in text
    assert "How to reproduce" in text
    counts = re.search('<table class="confusion">(.*?)</table>', text, re.DOTALL)
    assert counts is not None
    networks = [int(n) for n in re.findall(r"<td style[^>]*>(\d+)</td>", counts[1])]
    assert sum(networks) == 16  # test networks
    remarks = re.findall(r"<figcaption>member \d+, test, label (\d), [^<]*predicted: (\d)", text)
    right, wrong = text.index("<h3>Right</h3>"), text.index("<h3>Wrong, most confident first</h3>")
    shown = text[right:wrong].count("<figcaption>")
    assert [a == b for a, b in remarks] == [i < shown for i in range(len(remarks))]
    assert len(remarks) > shown > 0


def test_a_report_names_the_run_of_each_training(reported: Path, pages: dict[str, Path]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    children = client.search_runs([experiment.experiment_id], "tags.seed != ''")
    assert children
    (markdown,) = reported.glob("reports/*/report.md")
    for text in (markdown.read_text(), pages["report"].read_text()):
        assert all(child.info.run_id in text for child in children)


def test_a_report_is_attached_to_the_parent_run(reported: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reported}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert parent.data.params["models.mlp.network.hidden"] == "(8,)"
    kept = client.download_artifacts(parent.info.run_id, "report.html")
    assert Path(kept).read_bytes() == (reported / "report.html").read_bytes()
    for run in runs:
        kept = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert "confusion.png" in kept
        assert ("examples.png" in kept) == (run is parent)


def test_a_page_of_another_command_is_not_written_over(
    reported: Path, tiny: Path, dwszoo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    page = tmp_path / "zoo.html"
    page.write_text('<meta name="generator" content="dwszoo inspect">')
    code, _, err = dwszoo("report", tiny, "--root", reported, "--html", page)
    assert code == 2
    assert "was not written by `dwszoo report`" in err
