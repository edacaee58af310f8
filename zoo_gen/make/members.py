"""How the members of a shard are made, for each kind of `Maker`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_gen.make.classifiers.rows import trained_members
from zoo_gen.make.fit.rows import fitted_members
from zoo_gen.make.job import Progress, ShardJob
from zoo_gen.recipe.classifier import Classifier
from zoo_gen.recipe.fit import Fit
from zoo_gen.recipe.maker import Maker
from zoo_gen.sources.labelled import Rows
from zoo_gen.zoo.shards import Columns

Make = Callable[[Any, ShardJob, Rows, Progress], tuple[Columns, dict[str, Any]]]
"""Makes members of a shard, a pure function of the job's recipe and signals.

It takes the recipe's maker, the job, the members (whole groups unless a group is one signal's) and
what to call with the number of members made since the last call. It returns a row per member, and
additions to the shard's description.
"""

MAKE: dict[type[Maker], Make] = {Fit: fitted_members, Classifier: trained_members}
