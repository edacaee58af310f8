"""One of two workers of a training with batch norms: `python two_workers.py FILE RANK`.

Prints, as JSON, the loss on the validation and test split that the training told, and that of the
model that it gave, alone.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import torch
import torch.distributed as dist

from dws import WeightSpace
from training import loop
from training.models import DwsNetwork
from training.settings import Training
from training.tasks import Classify, TaskData
from zoo_gen import ForwardPass


def networks() -> TaskData:
    """Networks whose later ones are larger, so that the slices of two workers differ."""
    torch.manual_seed(0)
    space, count = WeightSpace.mlp((2, 8, 8, 1)), 57
    index = torch.arange(count)
    label = index % 3
    theta = torch.randn(count, space.size) + label[:, None] * 0.3 + index[:, None] * 0.02
    rows = {"train": index[:33], "val": index[33:45], "test": index[45:]}
    return TaskData(
        space=space,
        theta=theta,
        member=index,
        rows=rows,
        forward_pass=ForwardPass("sine"),
        task=Classify(),
        target=label,
        classes=3,
    )


def main(file: str, rank: str) -> None:
    """Train beside the other worker, then evaluate alone."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{file}",
        rank=int(rank),
        world_size=2,
        timeout=timedelta(minutes=4),
    )
    data, network = networks(), DwsNetwork(hidden_channels=8, layers=2, norm="batch")
    settings = Training(epochs=2, batch_size=16, learning_rate=0.01)
    outcome = loop.train(network, data, settings, seed=0)
    told = [outcome.validation["val_loss"], outcome.test["loss"]]
    dist.destroy_process_group()
    alone = [loop.evaluate(outcome.model, data, split)[0]["loss"] for split in ("val", "test")]
    print(json.dumps([told, alone]))


if __name__ == "__main__":
    main(*sys.argv[1:])
