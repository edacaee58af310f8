"""Fit networks to signals: one interface, several executions.

zoo_gen.make.fit.eager       plain tensor operations, in batches: the specification
zoo_gen.make.fit.compiled    a C kernel, built once per machine: for processors
zoo_gen.make.fit.choice      which of them, and what happens where one cannot
"""

from zoo_gen.make.fit.choice import choose
from zoo_gen.make.fit.networks import Fitted, fit_networks
from zoo_gen.make.fit.start import init

__all__ = ["Fitted", "choose", "fit_networks", "init"]
