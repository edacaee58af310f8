"""A zoo made on demand by trials that need it: by one of them, while the others wait."""

from __future__ import annotations

from typing import Any

import ray

from zoo_gen import DwszooError, EngineError, LocalEngine, Recipe, Signals, Store
from zoo_gen.make.generate import generate
from zoo_gen.zoo.layout import missing_shards

ATTEMPTS = 3


def make_zoo(store: Store, recipe: Recipe, signals: Signals) -> None:
    """Have a zoo made unless it is there. All who ask for the same one wait for one maker.

    The maker works on the CPU of whom it was asked by, who only waits meanwhile. If it dies, the
    next one goes on with the shards that are missing.

    Raises:
        DwszooError: what `zoo_gen.make.generate` raises.
        EngineError: its makers die.
    """
    for _ in range(ATTEMPTS):
        if not missing_shards(store, recipe):
            return
        options = {"name": f"dwszoo {store.url(recipe.folder)}", "get_if_exists": True}
        maker = _Maker.options(num_cpus=0, **options).remote()  # type: ignore[attr-defined]
        try:
            ray.get(maker.make.remote(store, recipe, signals))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DwszooError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError:
            continue  # ended by another one that waited, with the zoo done; or dead
        ray.kill(maker)
    if missing_shards(store, recipe):
        raise EngineError(
            f"the zoo {recipe.name}-{recipe.hash8} was not finished: the processes that make it "
            "die, often for want of memory; use a smaller zoo.rows_per_shard"
        )


@ray.remote
class _Maker:
    """Makes one zoo, however many ask for it: who comes second finds all shards there."""

    def make(self, store: Store, recipe: Recipe, signals: Signals) -> Any:
        """Fit what is missing."""
        generate(store, recipe, signals, LocalEngine())
