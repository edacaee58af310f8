"""A hyper-parameter search on Ray Tune: its space, its trials and their record.

space, settings   what is searched, and how
trials            the record of each trial on disk: all that a search remembers
sampler           which values the next trial has (Optuna)
queue             the trials to run, until the budget is spent
ray_worker        one trial, in the process of a Ray worker
ray_tune          the search, in the driver
"""
