"""The table of `benchmarks/symmetries.py`: groups as written down there by hand."""

import sys
from pathlib import Path

import pytest
import torch

from dws import WeightSpace
from dws.describe import group

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from symmetries import ORDINARY, PUBLIC

CASES = {**ORDINARY, **PUBLIC}


@pytest.mark.parametrize("case", CASES)
def test_the_group_is_the_one_of_the_table(case):
    make, x, expected = CASES[case]
    torch.manual_seed(0)
    assert group(WeightSpace.from_module(make(), x)) == expected
