"""What an import does not load: fitting and training do without Ray, the command line is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LEFT_OUT = {
    "dws": ["ray", "mlflow", "pyarrow", "pandas", "pydantic", "scipy"],
    "zoo_gen.make.fit": ["ray", "mlflow"],
    "zoo_gen.make.generate": ["ray", "mlflow"],
    "training.loop": ["ray", "mlflow"],
    "training.train_job": ["ray", "mlflow"],
    "pipeline.commands.cli": ["torch", "ray", "mlflow"],
}


@pytest.mark.parametrize("module", LEFT_OUT)
def test_importing_it_loads_no_more_than_it_needs(module: str) -> None:
    program = f"import sys, {module}; print(*set({LEFT_OUT[module]!r}) & sys.modules.keys())"
    # from the repository's root, so that this checkout is imported whatever is installed
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
