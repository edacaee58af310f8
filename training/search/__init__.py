"""A hyper-parameter search: its space, its plan and its record. The engine is Ray Tune's.

space, settings   what is searched, and how
ledger            the trials on disk, all that a search knows of its past
sampler           what is tried next (Optuna)
plan              hands trials out until the budget is spent
work              one trial in one process
"""
