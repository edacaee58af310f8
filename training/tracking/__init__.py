"""MLflow: what was trained, with which settings, and how it went.

store       access to an MLflow store: retries, errors in one line
runs        runs of trainings, with their data sets
metrics     metrics on their way, written by a thread
models      trained models, logged and loaded
trials      trials of a search, as runs
tags        what a run says of the code and the machine that made it
registry    models under names
"""

from training.tracking.runs import ChildRun, Tracking

__all__ = ["ChildRun", "Tracking"]
