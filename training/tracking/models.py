"""Models in MLflow: logged as exported programs and as files, loaded without code of either."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.results import MODEL_FILE
from training.tracking.store import fluent, store_errors

MODEL = "model"
EXAMPLE_ROWS = 4


@dataclass(frozen=True)
class TrackedModel:
    """What is logged of a model.

    Attributes:
        net: from ``[m, size]`` to its output, in evaluation mode.
        theta: networks that it takes; the first few become its input example.
        content: of its file (`training.model_file`).
    """

    net: nn.Module
    theta: Tensor
    content: bytes


def log_model(uri: str, run: str, model: TrackedModel) -> None:
    """Log a model: an exported program with signature and input example, and its file beside it.

    The program needs torch alone: whoever loads or serves it needs none of our packages. The file
    holds the weights as safetensors, and is what `dwszoo predict` reads.
    """
    from mlflow.models import infer_signature

    example = model.theta[:EXAMPLE_ROWS]
    with torch.no_grad():
        signature = infer_signature(example.numpy(), model.net(example).numpy())
    with (
        fluent(uri) as mlflow,
        mlflow.start_run(run_id=run),
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")
        file = Path(folder) / MODEL_FILE
        file.write_bytes(model.content)
        mlflow.pytorch.log_model(
            model.net,
            name=MODEL,
            signature=signature,
            input_example=example.numpy(),
            extra_files=[str(file)],
            serialization_format="pt2",
            # named, so that MLflow does not start processes to find out
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
        )


def load_model(uri: str, run: str) -> nn.Module:
    """The network that a run logged, from its exported program."""
    with store_errors(uri), fluent(uri) as mlflow:
        model: nn.Module = mlflow.pytorch.load_model(f"runs:/{run}/{MODEL}")
        return model
