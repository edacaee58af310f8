"""The process that a user's command is: generates a scripted zoo on Ray and says how it went."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

from zoo_gen import DwszooError, LocalEngine, Store
from zoo_gen.make.generate import generate


def main(job: str, root: str, where: str, retry_seconds: str = "60") -> int:
    """Generate; 1 where a foreseen error ends it.

    Args:
        job: file of the pickled recipe and signals.
        root: of the store.
        where: address of a Ray cluster, ``"local"`` for a Ray of its own, ``"plain"`` for none.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    recipe, signals = pickle.loads(Path(job).read_bytes())
    store = Store(root, float(retry_seconds))
    try:
        if where == "plain":
            generate(store, recipe, signals, LocalEngine())
            return 0
        from zoo_gen.make.ray_engine import RayEngine, cluster

        with cluster(None if where == "local" else where, 2):
            generate(store, recipe, signals, RayEngine())
    except DwszooError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
