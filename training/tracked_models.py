"""Models in MLflow: logged as exported programs, loaded without code of the file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.mlflow_store import fluent, told

if TYPE_CHECKING:
    from training.tracking import Tracking

MODEL = "model"


def log_model(uri: str, run: str, model: nn.Module, theta: Tensor) -> None:
    """Log a network with signature and input example, as an exported program without pickled code.

    The program needs torch alone: whoever loads it needs none of our packages.
    """
    from mlflow.models import infer_signature

    with torch.no_grad():
        signature = infer_signature(theta.numpy(), model(theta).numpy())
    with fluent(uri) as mlflow, mlflow.start_run(run_id=run), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.log_model(
            model,
            name=MODEL,
            signature=signature,
            input_example=theta.numpy(),
            # named, so that MLflow does not start processes to find out
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
        )


def load_model(tracking: Tracking, run: str) -> nn.Module:
    """The network that a run logged."""
    with told(tracking.uri), fluent(tracking.uri) as mlflow:
        model: nn.Module = mlflow.pytorch.load_model(f"runs:/{run}/{MODEL}")
        return model
