"""Run the fused fit under Triton's interpreter, in a process of its own: prints what it gave.

    TRITON_INTERPRET=1 python fused_against_plain.py

A line of JSON per recipe of `recipes.RECIPES` that the kernel takes: its name, the largest distance
of a weight from the plain loop's, the steps that were taken, and the progress that was told.
"""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from fitting import plain_loop
from recipes import BASE, RECIPES, signals_for

from zoo_gen.make.fit import fused, init
from zoo_gen.make.fit.problem import Problem

SEEDS = [2**40 + 3, 1, 4]

fused.LAUNCH = 3  # two launches of six steps
STOPPING = replace(BASE, learning_rate=0.01, target_loss=0.075)
for name, fit in {**RECIPES, "stopping": STOPPING, "diverging": BASE}.items():
    if fused.beyond(fit):
        continue
    x, y = signals_for(fit, 3)
    problem = Problem(fit, SEEDS, fit.forward_pass.inputs(x), y)
    theta, told = init(fit, SEEDS), []
    if name == "diverging":
        theta[1] = 1e30
    steps = fused.run(problem, theta, told.append, device="cpu")
    plain = torch.stack([plain_loop(fit, s, x, t) for s, t in zip(SEEDS, y, strict=True)])
    apart = (theta - plain).abs().amax(1).tolist()
    print(json.dumps({"name": name, "apart": apart, "steps": steps.tolist(), "told": sum(told)}))
