"""Predictions for the networks of a zoo, as columns and as Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from training.data import AT_ONCE
from training.model_file import TrainedModel
from training.tasks import Output
from training.tasks.regress import errors
from zoo_gen import ZooReader
from zoo_gen.recipe.recipe import SPLITS
from zoo_gen.zoo.shards import Columns

WHO = ("member", "signal", "view", "split")


def predict_zoo(
    model: TrainedModel, zoo: ZooReader, progress: Callable[[int], None] = lambda done: None
) -> Columns:
    """Predictions for every network of a zoo that did not diverge, a piece at a time.

    Returns:
        Who each network is (``member``, ``signal``, ``view``, ``split``), what the task's columns
        hold where the zoo has them, and `answers`.

    Raises:
        ModelError: the model reads other networks.
        ZooError: shards are missing or corrupt.
    """
    model.require(zoo.space, zoo.url, zoo.forward_pass)
    parts: dict[str, list[Any]] = {}
    done = 0
    for rows in zoo.batches(AT_ONCE):
        good = torch.from_numpy(np.asarray(rows.columns["status"]) == "ok")
        kept = [name for name in (*WHO, *model.task.needs) if name in rows.columns]
        found = {name: np.asarray(rows.columns[name])[good.numpy()] for name in kept}
        found |= answers(model.output, model.predict(rows.theta[good]))
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
        progress(done := done + len(rows))
    return {name: np.concatenate(values) for name, values in parts.items()}


def answers(output: Output, given: Tensor) -> Columns:
    """A model's output as columns.

    Args:
        output: what it is.
        given: ``[m, output.size]``.

    Returns:
        Of logits the class ``prediction`` int64 ``[m]``, its ``confidence`` float32 ``[m]`` and the
        ``probabilities`` float32 ``[m, classes]``; of values ``predicted_NAME`` ``[m]`` each; of an
        embedding or weights one column of that name, float32 ``[m, size]``.
    """
    if output.kind == "logits":
        shares = given.double().softmax(1)
        confidence, prediction = shares.max(1)
        return {
            "prediction": prediction.numpy(),
            "confidence": confidence.float().numpy(),
            "probabilities": shares.float().numpy(),
        }
    if output.kind == "values":
        return {f"predicted_{name}": given[:, i].numpy() for i, name in enumerate(output.names)}
    return {{"weights": "theta"}.get(output.kind, output.kind): given.numpy()}


def known(model: TrainedModel, columns: Columns) -> npt.NDArray[np.bool_]:
    """Which networks have known targets, ``[n]``: an import may lack some values."""
    right = np.ones(len(columns["member"]), bool)
    for name in model.task.needs:
        values = columns.get(name)
        if values is None:
            return np.zeros_like(right)
        if values.dtype.kind in "iuf":
            right &= np.isfinite(values)
        else:
            right &= np.isin(values, model.output.names)  # a class by its name
    return right


def scores(model: TrainedModel, columns: Columns) -> dict[str, dict[str, float]]:
    """How good predictions are, split -> metric -> value, over the networks that are `known`."""
    found, right = {}, known(model, columns)
    for split in SPLITS:
        if not (mine := (columns["split"] == split) & right).any():
            continue
        if model.output.kind == "logits":
            predicted, true = columns["prediction"][mine], columns[model.task.needs[0]][mine]
            by_name = true.dtype.kind not in "iuf"
            hits = (np.array(model.output.names)[predicted] if by_name else predicted) == true
            found[split] = {"accuracy": float(hits.mean())}
        elif model.output.kind == "values":
            names = model.output.names
            predicted = np.stack([columns[f"predicted_{n}"][mine] for n in names], 1)
            true = np.stack([columns[n][mine] for n in names], 1)
            found[split] = errors(
                torch.from_numpy(predicted).double(), torch.from_numpy(true).double()
            )
    return found


def encode(columns: Columns, about: dict[str, Any]) -> bytes:
    """A Parquet file of these columns; ``about`` is kept as JSON in its metadata."""
    arrays = {}
    for name, values in columns.items():
        if values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            arrays[name] = pa.array(values)
    table = pa.table(arrays).replace_schema_metadata({"dwszoo": json.dumps(about)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
