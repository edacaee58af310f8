"""The rows of a shard of networks that were fitted to signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_gen.make.fit.networks import fit_networks
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.recipe.fit import Fit
from zoo_gen.sources.labelled import Rows
from zoo_gen.zoo.shards import Columns


def fitted_members(
    fit: Fit, job: ShardJob, members: Rows, progress: Progress
) -> tuple[Columns, dict[str, Any]]:
    """As `zoo_gen.make.members.Make`; the description names the execution."""
    recipe, signals = job.recipe, job.signals
    row, view = np.divmod(members, recipe.zoo.views)
    seeds = [recipe.member_seed(int(m)) for m in members]
    fitted = fit_networks(
        fit,
        seeds,
        signals.coordinates,
        signals.targets(row),
        progress,
        job.fitting,
        recipe.members,
    )
    columns = {
        "member": members,
        "signal": signals.index[row],
        "view": view.astype(np.int32),
        "split": job.assigned[row],
        "seed": np.array(seeds, np.int64),
        "theta": fitted.theta.numpy(),
        "loss": fitted.loss.numpy(),
        "psnr": np.where(signals.unit_range, fitted.psnr.numpy(), np.float32(np.nan)),
        "steps": fitted.steps.numpy(),
        "status": np.where(fitted.diverged.numpy(), "diverged", "ok"),
        **{name: column[row] for name, column in signals.columns.items()},
    }
    return columns, {"fitting": fitted.execution}
