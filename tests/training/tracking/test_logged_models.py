"""A logged model is the one that was trained, also for those who have none of our packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from dws.symmetries import flip_signs
from training import results
from training.data import prepare
from training.model_file import state_of
from training.tracking import Tracking
from training.tracking.models import load_model
from training.train_job import track_again, train_job
from zoo_gen import Store


def test_the_logged_model_gives_the_same_logits(trained, root: Store, data) -> None:
    job, tracking, _, child = trained
    ours = job.network.build(data.space, data.classes)
    ours.load_state_dict(state_of(root.read(f"{job.folder}/model.safetensors")))
    theirs = load_model(tracking.uri, child.info.run_id)
    for n in (1, 5):
        torch.testing.assert_close(theirs(data.theta[:n]), ours.eval()(data.theta[:n]))


def test_the_logged_model_needs_none_of_our_packages(trained, data, tmp_path: Path) -> None:
    import numpy as np

    _, tracking, _, child = trained
    np.save(tmp_path / "theta.npy", data.theta[:3].numpy())
    code = (
        "import sys, numpy as np, mlflow\n"
        "for name in ('dws', 'zoo_gen', 'training', 'pipeline'): sys.modules[name] = None\n"
        f"mlflow.set_tracking_uri({tracking.uri!r})\n"
        f"model = mlflow.pyfunc.load_model('runs:/{child.info.run_id}/model')\n"
        f"print(model.predict(np.load({str(tmp_path / 'theta.npy')!r})).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(3, 10)", done.stderr[-500:]


def test_the_logged_model_of_canonical_weights_takes_any(
    root: Store, job, data, memory, tracking
) -> None:
    one = job(seed=8, prepare="canonical-sine")
    train_job(root, one, tracking, memory())
    ours = one.network.build(data.space, data.classes)
    ours.load_state_dict(state_of(root.read(f"{one.folder}/model.safetensors")))
    theirs = load_model(tracking.uri, tracking.find(one.hash8))
    expected = ours.eval()(prepare(data, "canonical-sine").theta[:5])
    torch.testing.assert_close(theirs(data.theta[:5]), expected)
    other = flip_signs(data.space, data.theta[:5])
    torch.testing.assert_close(theirs(other), expected)


def test_a_canonical_model_is_tracked_again_with_its_form(
    root: Store, job, data, memory, tracking
) -> None:
    one = job(seed=9, prepare="canonical-sine")
    train_job(root, one, tracking, memory())
    first = load_model(tracking.uri, tracking.find(one.hash8))(data.theta[:5])
    again = Tracking.connect(tracking.uri, "again", None).with_parent("p", "k", {}, "")
    track_again(root, one, again)
    theirs = load_model(again.uri, again.find(one.hash8))
    torch.testing.assert_close(theirs(data.theta[:5]), first)


def test_a_run_says_which_weights_its_model_takes(root: Store, job, data, memory, tracking) -> None:
    from mlflow import MlflowClient

    one = job(seed=10, prepare="align")
    train_job(root, one, tracking, memory())
    run_id = tracking.find(one.hash8)
    tags = MlflowClient(tracking.uri).get_run(run_id).data.tags
    assert tags["model_input"].startswith("aligned to the mean of the training networks")
    score = results.read(root, one)
    aligned = prepare(data, "align").theta[data.rows["test"]]
    assert load_model(tracking.uri, run_id)(aligned).argmax(1).tolist() == score.predictions
